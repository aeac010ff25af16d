import numpy as np
import pytest

from rag.closer import NEAREST, NEIGHBOUR_WEIGHT, SENTENCE_SHARE, evened, meanings, sentence_cosines
from rag.ports import ChunkVectors, Vectors
from rag.types import ChunkId

EAST = np.array([1.0, 0.0], dtype=np.float32)
NORTH = np.array([0.0, 1.0], dtype=np.float32)
ONE, TWO = ChunkId(1), ChunkId(2)


def chunk(*windows: Vectors, sentences: tuple[Vectors, ...] = ()) -> ChunkVectors:
    return ChunkVectors(windows=np.stack(windows), sentences=np.reshape(sentences, (-1, 2)).astype(np.float32))


def test_a_chunk_is_as_near_as_its_nearest_sentence() -> None:
    found = sentence_cosines(EAST, {ONE: chunk(NORTH, sentences=(NORTH, EAST))})
    assert found == {ONE: 1.0}


def test_a_chunk_without_sentences_has_no_best_one_and_keeps_its_own_cosine() -> None:
    assert sentence_cosines(EAST, {ONE: chunk(EAST)}) == {}
    assert meanings({ONE: 0.4}, {}) == {ONE: pytest.approx(0.4)}


def test_passage_and_sentence_count_by_their_shares() -> None:
    assert meanings({ONE: 0.4}, {ONE: 0.8}) == {ONE: pytest.approx(0.4 + SENTENCE_SHARE * 0.4)}


def test_a_passage_among_good_ones_rises_above_its_equal_that_is_alone() -> None:
    chunks = [chunk(EAST), chunk(EAST), chunk(NORTH)]
    good, among, alone = evened([0.9, 0.5, 0.5], chunks)
    assert good < 0.9
    assert among > alone == pytest.approx(0.5)


def test_neighbours_count_as_far_as_the_query_was_read() -> None:
    chunks = [chunk(EAST), chunk(EAST)]
    assert evened([0.9, 0.5], chunks, reading=0.0) == pytest.approx([0.9, 0.5])
    assert evened([0.9, 0.5], chunks)[1] > evened([0.9, 0.5], chunks, reading=0.5)[1] > 0.5


def test_scores_stay_between_the_least_and_the_greatest() -> None:
    draw = np.random.default_rng(0)
    chunks = [chunk(row / np.linalg.norm(row)) for row in draw.normal(size=(40, 2)).astype(np.float32)]
    scores = draw.random(40)
    moved = evened(scores.tolist(), chunks)
    assert moved.min() >= scores.min()
    assert moved.max() <= scores.max()


def test_only_the_nearest_count() -> None:
    far = chunk(np.array([0.8, 0.6], dtype=np.float32))
    moved = evened([0.5] * (NEAREST + 1) + [1.0], [chunk(EAST)] * (NEAREST + 1) + [far])
    assert moved[:-1] == pytest.approx(0.5)
    weight = NEIGHBOUR_WEIGHT * 0.8**2
    # All are as near to the far one, and ties are all taken.
    shared = weight * (NEAREST + 1) / NEAREST
    assert moved[-1] == pytest.approx((1.0 + shared * 0.5) / (1 + shared))


def test_a_passage_near_to_none_keeps_its_score() -> None:
    assert evened([0.9, 0.1], [chunk(EAST), chunk(NORTH)]) == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("scores", [[], [0.3]])
def test_nothing_to_even_out_is_left_as_it_is(scores: list[float]) -> None:
    assert evened(scores, [chunk(EAST)] * len(scores)).tolist() == scores
