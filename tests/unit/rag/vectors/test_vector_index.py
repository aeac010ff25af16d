from pathlib import Path

import numpy as np
import pytest

from rag.ports import Vectors
from rag.types import ChunkId
from rag.vectors import VectorIndex

NORTH, EAST, SOUTH = np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([0.0, -1.0])
BETWEEN = np.array([0.6, 0.8])


def vectors(*directions: np.ndarray) -> Vectors:
    return np.array(directions, dtype=np.float32)


def query(direction: np.ndarray) -> Vectors:
    return direction.astype(np.float32)


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    index = VectorIndex(tmp_path / "filled", 2)
    index.add([ChunkId(7), ChunkId(8), ChunkId(9)], [vectors(NORTH), vectors(EAST), vectors(SOUTH)])
    return index


def test_nearest_chunks_come_first_with_their_cosines(index: VectorIndex) -> None:
    assert index.search(query(BETWEEN), 2) == {7: pytest.approx(0.8), 8: pytest.approx(0.6)}


def test_a_chunk_scores_by_its_best_window(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, 2)
    index.add([ChunkId(1), ChunkId(2)], [vectors(SOUTH, NORTH, EAST), vectors(BETWEEN)])
    assert index.search(query(NORTH), 5) == {1: pytest.approx(1.0), 2: pytest.approx(0.8)}


def test_many_windows_of_one_chunk_do_not_crowd_out_the_others(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, 2)
    index.add([ChunkId(1), ChunkId(2), ChunkId(3)], [vectors(*[NORTH] * 50), vectors(EAST), vectors(SOUTH)])
    assert list(index.search(query(NORTH), 3)) == [1, 2, 3]


def test_only_chunks_within_are_found(index: VectorIndex) -> None:
    assert list(index.search(query(NORTH), 2, np.array([8, 9, 12345]))) == [8, 9]


def test_within_nothing_finds_nothing(index: VectorIndex) -> None:
    assert index.search(query(NORTH), 2, np.empty(0, dtype=np.int64)) == {}


def test_one_in_a_thousand_is_found_by_a_filter(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, 2)
    ids = [ChunkId(i) for i in range(2000)]
    index.add(ids, [vectors(NORTH if i % 1000 else SOUTH) for i in ids])
    assert sorted(index.search(query(NORTH), 10, np.array([0, 1000]))) == [0, 1000]


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    assert VectorIndex(tmp_path, 2).search(query(NORTH), 5) == {}


def test_a_removed_chunk_is_not_found(index: VectorIndex) -> None:
    index.remove(np.array([7, 404]))
    assert list(index.search(query(NORTH), 5)) == [8, 9]
    assert index.ids.tolist() == [8, 9]


def test_a_chunk_that_comes_again_is_found_again(index: VectorIndex) -> None:
    index.remove(np.array([7]))
    index.add([ChunkId(7)], [vectors(EAST)])
    assert index.ids.tolist() == [7, 8, 9]
    assert index.search(query(EAST), 2) == {7: pytest.approx(1.0), 8: pytest.approx(1.0)}


def test_opening_it_again_brings_back_the_same_index(index: VectorIndex, tmp_path: Path) -> None:
    index.remove(np.array([8]))
    reopened = VectorIndex(tmp_path / "filled", 2)
    assert reopened.ids.tolist() == [7, 9]
    assert reopened.search(query(BETWEEN), 3) == index.search(query(BETWEEN), 3)


def test_what_another_has_written_is_seen_after_a_refresh(index: VectorIndex, tmp_path: Path) -> None:
    other = VectorIndex(tmp_path / "filled", 2)
    index.add([ChunkId(10)], [vectors(BETWEEN, NORTH)])
    index.remove(np.array([8]))
    other.refresh()
    assert other.ids.tolist() == [7, 9, 10]
    other.add([ChunkId(11)], [vectors(EAST)])
    index.refresh()
    assert list(index.search(query(EAST), 2)) == [11, 10]


def test_two_indexes_of_a_store_know_nothing_of_each_other(tmp_path: Path) -> None:
    passages, sentences = VectorIndex(tmp_path / "passages", 2), VectorIndex(tmp_path / "sentences", 2)
    passages.add([ChunkId(1)], [vectors(NORTH)])
    sentences.add([ChunkId(1)], [vectors(EAST, SOUTH)])
    assert passages.search(query(NORTH), 1) == {1: pytest.approx(1.0)}
    assert sentences.search(query(NORTH), 1) == {1: pytest.approx(0.0)}


def test_vectors_are_read_back_as_they_were_added(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, 2)
    index.add([ChunkId(3), ChunkId(1)], [vectors(SOUTH, NORTH), vectors(BETWEEN)])
    read = {chunk_id: windows.tolist() for chunk_id, windows in index.vectors(np.array([3, 1, 404]))}
    assert read == {1: vectors(BETWEEN).tolist(), 3: vectors(SOUTH, NORTH).tolist()}
    assert list(read) == [1, 3]


def test_a_search_goes_on_over_what_it_began_with(index: VectorIndex) -> None:
    before = index.ids
    index.add([ChunkId(10)], [vectors(NORTH)])
    index.remove(np.array([7]))
    assert before.tolist() == [7, 8, 9]


def test_discarding_leaves_nothing(index: VectorIndex, tmp_path: Path) -> None:
    index.discard()
    assert index.search(query(NORTH), 5) == {}
    assert VectorIndex(tmp_path / "filled", 2).ids.tolist() == []
