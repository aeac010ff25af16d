"""What the features of one model's answers are worth, fitted on half of a run's questions and measured on the rest.

An answer is right if the question has one and it says so: by containment, or by half of F1 or of the key points.
Refusals are not fitted on, since nothing that is read off them could make them answers. The weights are those of a
logistic regression on standardised features with a penalty of 1, as scikit-learn's default has it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag.confidence import FEATURES, AnswerCalibration
from rag.errors import InvalidCollection, TooFewAnswers
from rag.evaluate.reliability import Outcomes, Reliability, measured
from rag.evaluate.report import Case, Report

LEAST = 15
"""So many right answers, and so many wrong ones, each half must have."""

HALF_F1, HALF_KEY_POINTS = 0.5, 0.5
PENALTY = 1.0
SEED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A calibration, and what it does to the questions that were left out: `before` takes the engine at its word.

    `fitted_on` counts questions, refused ones among them; `left_out` have no known answer to be held against.
    """

    calibration: AnswerCalibration
    answer_share: float
    fitted_on: int
    left_out: int
    before: Reliability
    after: Reliability


@dataclass(frozen=True, slots=True)
class _Judged:
    """A question with what became of it; `features` are empty where the engine refused."""

    answerable: bool
    right: bool
    features: Mapping[str, float]


def calibrate(report: Report, *, answer_share: float = 0.9, seed: int = SEED) -> Fitted:
    """Fit on every second question, drawn by the seed, so that `answer_share` of the right answers to them count.

    Raises InvalidCollection for a run without features, TooFewAnswers.
    """
    known = [case for case in report.cases if _is_known(case)]
    judged = [_judged(case) for case in known]
    fitting, rest = _halves(judged, seed)
    for half in (fitting, rest):
        _check_enough(half)
    answered = [one for one in fitting if one.features]
    right = np.array([one.right for one in answered])
    weights, intercept = fit(_rows(answered), right)
    calibration = AnswerCalibration(weights=weights, intercept=intercept, threshold=0.0)
    threshold = _threshold(calibration, answered, answer_share)
    calibration = AnswerCalibration(weights=weights, intercept=intercept, threshold=threshold)
    return Fitted(
        calibration=calibration,
        answer_share=answer_share,
        fitted_on=len(fitting),
        left_out=len(report.cases) - len(known),
        before=measured(_outcomes(rest, lambda _features: 1.0), threshold=1.0),
        after=measured(_outcomes(rest, calibration.probability), threshold=threshold),
    )


def fit(rows: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[dict[str, float], float]:
    """Give the weight of each of FEATURES and the intercept, for rows `float64 [n, len(FEATURES)]` as they are."""
    from scipy.optimize import minimize

    middle, scale = rows.mean(axis=0), rows.std(axis=0)
    # A feature that never varies tells nothing: its standardised value, and so its weight, is 0.
    scale[scale < 1e-9] = 1.0
    inputs = np.column_stack([np.ones(len(rows)), (rows - middle) / scale])
    penalty = np.array([0.0] + [PENALTY] * len(FEATURES))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = inputs @ weights
        missed = 1 / (1 + np.exp(-odds)) - right
        value = np.logaddexp(0.0, odds).sum() - odds[right].sum() + (penalty * weights**2).sum() / 2
        return float(value), inputs.T @ missed + penalty * weights

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[1:] / scale
    return dict(zip(FEATURES, weights.tolist(), strict=True)), float(found[0] - weights @ middle)


def is_right(scores: Mapping[str, float]) -> bool:
    """Whether the scores of an answer to a question that has one say that it is right."""
    return (
        scores.get("containment", 0.0) == 1.0
        or scores.get("f1", 0.0) >= HALF_F1
        or scores.get("key_points", 0.0) >= HALF_KEY_POINTS
    )


def _is_known(case: Case) -> bool:
    return "refused_of_unanswerable" in case.scores or bool(case.scores.keys() & {"containment", "key_points"})


def _judged(case: Case) -> _Judged:
    answerable = "answered_of_answerable" in case.scores
    answered = case.scores["answered_of_answerable"] == 1 if answerable else case.scores["refused_of_unanswerable"] == 0
    if answered and case.features.keys() != set(FEATURES):
        raise InvalidCollection(
            f"The answer to question {case.id!r} was not recorded with what a calibration is fitted on.",
            hint="Ask the questions again with this version: 'loam eval answers … --uncalibrated'.",
        )
    return _Judged(answerable, answerable and is_right(case.scores), case.features if answered else {})


def _halves(judged: Sequence[_Judged], seed: int) -> tuple[list[_Judged], list[_Judged]]:
    """Give two halves with as many right, wrong and refused answers each, whatever the order of the questions."""
    order = np.random.default_rng(seed).permutation(len(judged))
    drawn = sorted((judged[place] for place in order), key=lambda one: (one.answerable, one.right, bool(one.features)))
    return drawn[::2], drawn[1::2]


def _check_enough(half: Sequence[_Judged]) -> None:
    right = sum(one.right for one in half if one.features)
    wrong = sum(not one.right for one in half if one.features)
    if min(right, wrong) >= LEAST:
        return
    few = f"{2 * right} right and {2 * wrong} wrong answers"
    raise TooFewAnswers(
        f"About {few} are too few to calibrate on: {2 * LEAST} of each are needed.",
        hint="Ask more questions, also such as the documents do not answer."
        if wrong < right
        else "Ask more questions that the documents answer.",
    )


def _threshold(calibration: AnswerCalibration, answered: Sequence[_Judged], answer_share: float) -> float:
    """Give the highest probability, to three digits, at which so many of the right answers still count."""
    right = [calibration.probability(one.features) for one in answered if one.right]
    return math.floor(1000 * float(np.quantile(right, 1 - answer_share))) / 1000


def _rows(answered: Sequence[_Judged]) -> NDArray[np.float64]:
    return np.array([[one.features[name] for name in FEATURES] for one in answered], dtype=np.float64)


def _outcomes(judged: Sequence[_Judged], probability: Callable[[Mapping[str, float]], float]) -> Outcomes:
    return Outcomes(
        answerable=np.array([one.answerable for one in judged]),
        right=np.array([one.right and bool(one.features) for one in judged]),
        given=np.array([bool(one.features) for one in judged]),
        likely=np.array([probability(one.features) if one.features else 0.0 for one in judged]),
    )
