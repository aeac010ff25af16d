"""How far probabilities of being right can be relied on, and what each threshold on them answers and refuses.

The expected calibration error is that of Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, over
ten bins of equal width; the Brier score is the mean squared difference from 1 for right and 0 for wrong answers. Both
are of what the engine answered: its refusals, which nothing is claimed of, would flatter them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
THRESHOLDS = tuple(round(step / 20, 2) for step in range(20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Of n questions: whether they have an answer, whether one was given and was right, and how likely that was."""

    answerable: NDArray[np.bool_]
    given: NDArray[np.bool_]
    right: NDArray[np.bool_]
    likely: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a threshold does, in shares; `precision` is that of right ones among the answers, None without any.

    A share is None where there is no question of its kind.
    """

    threshold: float
    answered_of_answerable: float | None
    refused_of_unanswerable: float | None
    precision: float | None

    @property
    def balanced_accuracy(self) -> float | None:
        shares = (self.answered_of_answerable, self.refused_of_unanswerable)
        known = [share for share in shares if share is not None]
        return sum(known) / 2 if len(known) == 2 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The answers of about one probability: how many, how likely they were to be right, and how many are."""

    answers: int
    likely: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What probabilities come to on some questions: at the threshold, at others, and in themselves."""

    questions: int
    at_threshold: Point
    curve: tuple[Point, ...]
    bins: tuple[Bin, ...]
    calibration_error: float
    brier: float


def measured(outcomes: Outcomes, *, threshold: float) -> Reliability:
    """Measure probabilities on questions of which at least one was answered."""
    likely, right = outcomes.likely[outcomes.given], outcomes.right[outcomes.given]
    bins = _bins(likely, right)
    return Reliability(
        questions=len(outcomes.likely),
        at_threshold=_point(outcomes, threshold),
        curve=tuple(_point(outcomes, one) for one in THRESHOLDS),
        bins=bins,
        calibration_error=sum(one.answers * abs(one.likely - one.right) for one in bins) / len(likely),
        brier=float(((likely - right) ** 2).mean()),
    )


def _point(outcomes: Outcomes, threshold: float) -> Point:
    answered = outcomes.given & (outcomes.likely >= threshold)
    return Point(
        threshold=threshold,
        answered_of_answerable=_share(answered[outcomes.answerable]),
        refused_of_unanswerable=_share(~answered[~outcomes.answerable]),
        precision=_share(outcomes.right[answered]),
    )


def _share(of: NDArray[np.bool_]) -> float | None:
    return float(of.mean()) if len(of) else None


def _bins(likely: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    places = np.minimum((likely * BINS).astype(int), BINS - 1)
    inside = [places == place for place in range(BINS)]
    return tuple(
        Bin(answers=int(one.sum()), likely=float(likely[one].mean()), right=float(right[one].mean()))
        for one in inside
        if one.any()
    )
