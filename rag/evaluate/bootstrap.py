"""Intervals of means and of their differences, by drawing the questions anew (the percentile bootstrap).

Efron and Tibshirani 1993, chapters 13 and 16. Questions are taken for independent; where many are about one
document, the interval is somewhat too narrow. The draws are seeded: the same reports give the same intervals.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
SEED = 20
CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with the interval that holds it in 95 of 100 draws; of one question alone there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def estimate(scores: NDArray[np.float64]) -> Estimate:
    """Give the measure that `scores` make, `float64 [questions, parts]`: the mean over its parts of each part's mean.

    A question that a part says nothing of has NaN there. A part that no question has makes the value NaN.
    """
    return _estimated([scores])


def difference(before: NDArray[np.float64], after: NDArray[np.float64]) -> Estimate:
    """Give how much the measure grew from `before` to `after`, whose rows are of the same questions."""
    return _estimated([-before, after])


def _estimated(sides: list[NDArray[np.float64]]) -> Estimate:
    from scipy.stats import DegenerateDataWarning, bootstrap

    questions = len(sides[0])

    def statistic(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        assert axis == -1  # the questions
        total: NDArray[np.float64] = np.sum([measure_of(side[drawn]) for side in sides], axis=0)
        return total

    value = float(statistic(np.arange(questions)))
    if questions < 2 or np.isnan(value):
        return Estimate(value=value)
    with warnings.catch_warnings():
        # Of a part that few questions have: draws that hold none of them are left out below.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        drawn = bootstrap(
            (np.arange(questions),),
            statistic,
            n_resamples=RESAMPLES,
            batch=max(1, CELLS_AT_ONCE // (questions * sides[0].shape[1])),
            confidence_level=LEVEL,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(SEED),
        ).bootstrap_distribution
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def measure_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the measure that scores make, of `float64 [..., questions, parts]` one value for each of the first axes."""
    known = ~np.isnan(scores)
    counts = known.sum(axis=-2)
    sums = np.where(known, scores, 0.0).sum(axis=-2)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    measure: NDArray[np.float64] = means.mean(axis=-1)
    return measure
