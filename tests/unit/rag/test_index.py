from pathlib import Path

import numpy as np
import pytest

from rag.index import StoreIndex
from tests.fakes.chunk_source import MemorySource

NORTH = np.array([0.0, 1.0], dtype=np.float32)
EAST = np.array([1.0, 0.0], dtype=np.float32)


def store_index(folder: Path, embedder_id: str = "compass") -> StoreIndex:
    return StoreIndex(folder, embedder_id=embedder_id, dimensions=2)


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    source.add(1, "apples grow on trees", NORTH)
    source.add(2, "whales swim in the sea", EAST)
    return source


def test_both_sides_find_what_the_source_holds(tmp_path: Path, source: MemorySource) -> None:
    index = store_index(tmp_path)
    index.sync(source)
    assert list(index.search_text("whale", 5).scores) == [2]
    assert list(index.search_vectors(NORTH, 1)) == [1]


def test_changes_are_followed(tmp_path: Path, source: MemorySource) -> None:
    index = store_index(tmp_path)
    index.sync(source)
    source.remove(2)
    source.add(3, "whales sing", EAST)
    index.sync(source)
    assert list(index.search_text("whale", 5).scores) == [3]
    assert list(index.search_vectors(EAST, 5)) == [3, 1]


def test_only_what_is_new_is_read(tmp_path: Path, source: MemorySource) -> None:
    index = store_index(tmp_path)
    index.sync(source)
    source.rows_read = 0
    source.add(3, "pears", NORTH)
    index.sync(source)
    assert source.rows_read == 2  # once for each of the two indexes


def test_an_unchanged_source_is_only_asked_for_its_revision(tmp_path: Path, source: MemorySource) -> None:
    index = store_index(tmp_path)
    index.sync(source)
    source.chunks.clear()
    index.sync(source)
    assert list(index.search_vectors(NORTH, 1)) == [1]


def test_emptied_source_leaves_nothing(tmp_path: Path, source: MemorySource) -> None:
    index = store_index(tmp_path)
    index.sync(source)
    source.remove(1)
    source.remove(2)
    index.sync(source)
    assert index.search_vectors(NORTH, 5) == {}
    assert index.search_text("apples whales", 5).scores == {}


def test_another_embedder_never_sees_the_vectors_of_the_first(tmp_path: Path, source: MemorySource) -> None:
    store_index(tmp_path).sync(source)
    turned = MemorySource()
    turned.add(1, "apples grow on trees", EAST)
    other = store_index(tmp_path, "other compass")
    other.sync(turned)
    assert other.search_vectors(EAST, 1) == {1: pytest.approx(1.0)}
