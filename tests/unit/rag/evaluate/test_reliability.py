"""What probabilities of being right come to, on examples that are counted by hand."""

import numpy as np
import pytest

from rag.evaluate.reliability import Bin, Outcomes, measured

FOUR_ANSWERS_AND_A_REFUSAL = Outcomes(
    answerable=np.array([True, True, True, False, False]),
    given=np.array([True, True, True, True, False]),
    right=np.array([True, True, False, False, False]),
    likely=np.array([0.95, 0.65, 0.62, 0.1, 0.0]),
)


def test_a_threshold_answers_and_refuses_what_it_should() -> None:
    point = measured(FOUR_ANSWERS_AND_A_REFUSAL, threshold=0.63).at_threshold
    assert (point.answered_of_answerable, point.refused_of_unanswerable) == (pytest.approx(2 / 3), 1.0)
    assert (point.precision, point.balanced_accuracy) == (1.0, pytest.approx(5 / 6))


def test_a_refusal_stays_one_at_any_threshold() -> None:
    first, *_ = measured(FOUR_ANSWERS_AND_A_REFUSAL, threshold=0.5).curve
    assert (first.threshold, first.refused_of_unanswerable, first.precision) == (0.0, 0.5, 0.5)


def test_errors_are_of_the_answers_alone() -> None:
    found = measured(FOUR_ANSWERS_AND_A_REFUSAL, threshold=0.5)
    assert found.bins == (
        Bin(answers=1, likely=0.1, right=0.0),
        Bin(answers=2, likely=pytest.approx(0.635), right=0.5),
        Bin(answers=1, likely=0.95, right=1.0),
    )
    assert found.calibration_error == pytest.approx((0.1 + 2 * 0.135 + 0.05) / 4)
    assert found.brier == pytest.approx((0.05**2 + 0.35**2 + 0.62**2 + 0.1**2) / 4)
    assert found.questions == 5


def test_where_nothing_is_answered_right_answers_have_no_share() -> None:
    point = measured(FOUR_ANSWERS_AND_A_REFUSAL, threshold=0.99).at_threshold
    assert (point.precision, point.answered_of_answerable) == (None, 0.0)


def test_without_questions_of_a_kind_there_is_no_balance() -> None:
    only = Outcomes(answerable=np.array([True]), given=np.array([True]), right=np.array([True]), likely=np.array([1.0]))
    point = measured(only, threshold=0.5).at_threshold
    assert (point.refused_of_unanswerable, point.balanced_accuracy) == (None, None)
