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
def index() -> VectorIndex:
    index = VectorIndex(2)
    index.add([ChunkId(7), ChunkId(8), ChunkId(9)], [vectors(NORTH), vectors(EAST), vectors(SOUTH)])
    return index


def test_nearest_chunks_come_first_with_their_cosines(index: VectorIndex) -> None:
    assert index.search(query(BETWEEN), 2) == {7: pytest.approx(0.8), 8: pytest.approx(0.6)}


def test_a_chunk_scores_by_its_best_window() -> None:
    index = VectorIndex(2)
    index.add([ChunkId(1), ChunkId(2)], [vectors(SOUTH, NORTH, EAST), vectors(BETWEEN)])
    assert index.search(query(NORTH), 5) == {1: pytest.approx(1.0), 2: pytest.approx(0.8)}


def test_many_windows_of_one_chunk_do_not_crowd_out_the_others() -> None:
    index = VectorIndex(2)
    index.add([ChunkId(1), ChunkId(2), ChunkId(3)], [vectors(*[NORTH] * 50), vectors(EAST), vectors(SOUTH)])
    assert list(index.search(query(NORTH), 3)) == [1, 2, 3]


def test_only_chunks_within_are_found(index: VectorIndex) -> None:
    assert list(index.search(query(NORTH), 2, np.array([8, 9, 12345]))) == [8, 9]


def test_within_nothing_finds_nothing(index: VectorIndex) -> None:
    assert index.search(query(NORTH), 2, np.empty(0, dtype=np.int64)) == {}


def test_one_in_a_thousand_is_found_by_a_filter() -> None:
    index = VectorIndex(2)
    ids = [ChunkId(i) for i in range(2000)]
    index.add(ids, [vectors(NORTH if i % 1000 else SOUTH) for i in ids])
    assert sorted(index.search(query(NORTH), 10, np.array([0, 1000]))) == [0, 1000]


def test_an_empty_index_finds_nothing() -> None:
    assert VectorIndex(2).search(query(NORTH), 5) == {}


def test_a_removed_chunk_is_not_found(index: VectorIndex) -> None:
    index.remove(np.array([7, 404]))
    assert list(index.search(query(NORTH), 5)) == [8, 9]
    assert index.ids.tolist() == [8, 9]


def test_a_snapshot_brings_back_the_same_index(index: VectorIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "v.faiss")
    loaded = VectorIndex.load(tmp_path / "v.faiss", 2)
    assert loaded.ids.tolist() == [7, 8, 9]
    assert loaded.search(query(BETWEEN), 3) == index.search(query(BETWEEN), 3)
    assert [path.name for path in tmp_path.iterdir()] == ["v.faiss"]


def test_a_flipped_bit_in_a_snapshot_is_noticed(index: VectorIndex, tmp_path: Path) -> None:
    path = tmp_path / "v.faiss"
    index.save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"v\.faiss"):
        VectorIndex.load(path, 2)


@pytest.mark.parametrize("size", [0, 3, 4, 20])
def test_a_truncated_snapshot_is_noticed(index: VectorIndex, tmp_path: Path, size: int) -> None:
    path = tmp_path / "v.faiss"
    index.save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"v\.faiss"):
        VectorIndex.load(path, 2)
