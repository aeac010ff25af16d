import pytest

from rag.errors import InvalidRanking
from rag.fuse import Weights, fuse
from rag.lexical import TextScores
from rag.types import ChunkId

A, B, C = ChunkId(1), ChunkId(2), ChunkId(3)


def test_both_sides_count_half_by_default() -> None:
    assert fuse({A: 0.6}, TextScores({A: 4.0}, 10.0), Weights()) == {A: pytest.approx(0.5)}


def test_a_side_that_did_not_find_a_chunk_counts_as_nothing() -> None:
    fused = fuse({A: 0.8}, TextScores({B: 5.0}, 10.0), Weights())
    assert fused == {A: pytest.approx(0.4), B: pytest.approx(0.25)}


def test_only_the_ratio_of_the_weights_matters() -> None:
    cosines, text = {A: 0.5, B: 0.9}, TextScores({A: 7.0}, 10.0)
    once, tenfold = Weights(embedding=1, text=3), Weights(embedding=10, text=30)
    assert fuse(cosines, text, once) == pytest.approx(fuse(cosines, text, tenfold))


@pytest.mark.parametrize(
    ("weights", "expected"), [(Weights(embedding=1, text=0), 0.6), (Weights(embedding=0, text=1), 0.4)]
)
def test_a_weight_of_zero_switches_a_side_off(weights: Weights, expected: float) -> None:
    assert fuse({A: 0.6}, TextScores({A: 4.0}, 10.0), weights) == {A: pytest.approx(expected)}


def test_meaning_counts_as_far_as_the_query_was_read() -> None:
    half_read = Weights().as_read(0.5)
    assert fuse({A: 0.6}, TextScores({A: 3.0}, 10.0), half_read) == {A: pytest.approx(0.4)}


@pytest.mark.parametrize("weights", [Weights(embedding=1, text=0), Weights(embedding=0, text=1)])
def test_a_side_that_is_searched_alone_keeps_its_weight(weights: Weights) -> None:
    assert weights.as_read(0.0) == weights


def test_scores_stay_within_zero_and_one() -> None:
    fused = fuse({A: 1.0000001, B: -0.5, C: 1.0}, TextScores({A: 12.0, C: 10.0}, 10.0), Weights())
    assert fused == {A: 1.0, B: 0.0, C: 1.0}


def test_a_query_without_words_is_fused_by_meaning_alone() -> None:
    assert fuse({A: 0.6}, TextScores({}, 0.0), Weights()) == {A: pytest.approx(0.3)}


@pytest.mark.parametrize(("embedding", "text"), [(0, 0), (-1, 1), (1, -1), (float("nan"), 1), (float("inf"), 1)])
def test_weights_that_make_no_sense_are_refused(embedding: float, text: float) -> None:
    with pytest.raises(InvalidRanking):
        Weights(embedding=embedding, text=text)
