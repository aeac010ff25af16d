"""KL divergence told from the likeliest tokens of two models."""

from math import log

import pytest

from finetune.parity.divergence import divergence

HALF, QUARTER = log(0.5), log(0.25)


def test_models_that_expect_the_same_are_not_apart() -> None:
    assert divergence([(1, HALF), (2, QUARTER)], {1: HALF, 2: QUARTER}) == 0


def test_it_is_that_of_the_definition_where_all_is_named() -> None:
    assert divergence([(1, HALF), (2, HALF)], {1: QUARTER, 2: log(0.75)}) == pytest.approx(
        0.5 * log(2) + 0.5 * log(2 / 3)
    )


def test_tokens_that_one_side_names_alone_belong_to_the_rest() -> None:
    assert divergence([(1, HALF), (2, QUARTER)], {1: QUARTER, 3: HALF}) == pytest.approx(
        0.5 * log(2) + 0.5 * log(2 / 3)
    )


def test_a_token_that_one_holds_for_impossible_leaves_a_number() -> None:
    assert divergence([(1, 0.0)], {1: -9999.0}) == pytest.approx(log(1e9), rel=1e-6)
