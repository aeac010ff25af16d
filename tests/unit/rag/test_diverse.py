import numpy as np

from rag.diverse import diverse
from rag.ports import ChunkVectors

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)


def chunks(*vectors: tuple[float, float]) -> list[ChunkVectors]:
    return [
        ChunkVectors(windows=np.array([one], dtype=np.float32), sentences=np.empty((0, 2), np.float32))
        for one in vectors
    ]


def test_a_repeat_comes_after_what_is_different() -> None:
    assert diverse([0.9, 0.8, 0.5], chunks(EAST, EAST, NORTH), 0.5, 3) == [0, 2, 1]


def test_without_diversity_the_score_decides() -> None:
    assert diverse([0.5, 0.9, 0.8], chunks(EAST, EAST, NORTH), 0.0, 3) == [1, 2, 0]


def test_no_more_are_chosen_than_asked_for_and_none_twice() -> None:
    assert diverse([0.9, 0.8], chunks(EAST, EAST), 1.0, 5) == [0, 1]
    assert diverse([0.9, 0.8], chunks(EAST, EAST), 0.5, 1) == [0]


def test_nothing_found_gives_nothing() -> None:
    assert diverse([], [], 0.5, 3) == []
