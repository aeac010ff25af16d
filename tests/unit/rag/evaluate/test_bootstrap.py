import math

import numpy as np
import pytest

from rag.evaluate.bootstrap import Estimate, difference, estimate

NAN = math.nan


def column(*scores: float) -> np.ndarray:
    return np.array(scores)[:, None]


def test_a_mean_lies_in_its_interval_which_has_the_known_width() -> None:
    scores = np.random.default_rng(1).normal(0.5, 0.1, 400)[:, None]
    found = estimate(scores)
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.1)


def test_the_same_scores_give_the_same_interval() -> None:
    scores = column(*([0.0, 1.0] * 20))
    assert estimate(scores) == estimate(scores)


def test_questions_that_a_part_says_nothing_of_do_not_count() -> None:
    assert estimate(np.array([[1.0, NAN], [0.0, NAN], [NAN, 1.0]])).value == 0.75
    assert math.isnan(estimate(np.array([[1.0, NAN], [0.0, NAN]])).value)


def test_one_question_has_no_interval() -> None:
    assert estimate(column(0.5)) == Estimate(value=0.5)


def test_pairs_are_drawn_together() -> None:
    before = np.random.default_rng(2).uniform(0, 0.8, 300)[:, None]
    assert difference(before, before + 0.1) == Estimate(
        value=pytest.approx(0.1), low=pytest.approx(0.1), high=pytest.approx(0.1)
    )
