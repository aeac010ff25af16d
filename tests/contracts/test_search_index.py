"""What every SearchIndex promises, over files (FAISS and tantivy) and over PostgreSQL (pgvector and full text)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import pytest

from rag.index import StoreIndex
from rag.ports import SearchIndex
from rag.types import ChunkId
from services.storage.database import Database
from services.storage.postgres.indexes import PostgresIndexes
from services.storage.tables import GenerationRow
from tests.fakes.chunk_source import MemorySource

NORTH, EAST = np.eye(2, dtype=np.float32)
BETWEEN = np.array([0.8, 0.6], dtype=np.float32)
TEXTS = {
    1: "the cat sat on the mat, and the cat slept",
    2: "a dog chased the cat up a tall tree in the garden behind the house where nobody lives",
    3: "cats and dogs " * 400,
    4: "it's a back\\slash and a quote's end",
    5: "東京都に住んでいます",
    6: "naïve café — ½ of them, naive cafe",
    7: "",
}
QUERIES = [
    "cat",
    "cats dogs",
    "tall garden cat",
    "where is the house?",
    "back\\slash",
    "it's",
    "東京",
    "cafe naïve",
    "the",
]

Open: TypeAlias = Callable[..., SearchIndex]


@pytest.fixture
def in_postgres(postgres_url: str) -> Iterator[PostgresIndexes]:
    database = Database(postgres_url)
    yield PostgresIndexes(database)
    database.close()


@pytest.fixture(params=["files", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the one index again and again, as so many processes would."""
    if request.param == "files":
        return lambda embedder_id="compass": StoreIndex(tmp_path, embedder_id=embedder_id, dimensions=2)
    indexes: PostgresIndexes = request.getfixturevalue("in_postgres")
    generation = GenerationRow(id=7, store_id="vs_1")
    return lambda embedder_id="compass": indexes.open(generation, SimpleNamespace(id=embedder_id, dimensions=2))  # type: ignore[arg-type]


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    source.add(1, "apples grow on trees", NORTH, title="Fruit")
    source.add(2, "whales swim in the sea", EAST)
    source.add(3, "apples float in the sea", np.stack([EAST, BETWEEN]))
    return source


def ids(*given: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(given, dtype=np.int64)


def test_vectors_are_found_by_their_best_window_best_first(opened: Open, source: MemorySource) -> None:
    index = opened()
    index.sync(source)
    assert list(index.search_vectors(NORTH, 5).items()) == [
        (1, pytest.approx(1, abs=1e-3)),
        (3, pytest.approx(0.8, abs=1e-3)),
        (2, pytest.approx(0, abs=1e-3)),
    ]
    assert list(index.search_vectors(NORTH, 2)) == [1, 3]


def test_words_are_found_in_titles_and_texts(opened: Open, source: MemorySource) -> None:
    index = opened()
    index.sync(source)
    assert set(index.search_text("apple sea", 5).scores) == {1, 2, 3}
    assert list(index.search_text("fruits", 5).scores) == [1]
    assert index.search_text("the of", 5).scores == {}
    assert index.search_text("", 5).ceiling == 0


def test_a_filter_is_part_of_the_search(opened: Open, source: MemorySource) -> None:
    index = opened()
    index.sync(source)
    assert list(index.search_vectors(NORTH, 1, ids(2, 3))) == [3]
    assert list(index.search_text("apples", 1, ids(2, 3)).scores) == [3]
    assert index.search_vectors(NORTH, 5, ids()) == {}
    assert index.search_text("apples", 5, ids()).scores == {}


def test_changes_are_followed_by_all_that_have_it_open(opened: Open, source: MemorySource) -> None:
    one, other = opened(), opened()
    one.sync(source)
    other.sync(source)
    source.remove(2)
    source.add(4, "whales sing", EAST)
    one.sync(source)
    other.sync(source)
    for index in (one, other):
        assert list(index.search_text("whale", 5).scores) == [4]
        assert set(index.search_vectors(EAST, 5)) == {1, 3, 4}
        assert list(index.check()) == []


def test_only_what_is_new_is_read_and_by_one_of_them(opened: Open, source: MemorySource) -> None:
    one, other = opened(), opened()
    one.sync(source)
    source.rows_read = 0
    source.add(4, "pears", NORTH)
    one.sync(source)
    once = source.rows_read
    other.sync(source)
    assert (once <= 2, source.rows_read) == (True, once)  # Files are two indexes, each of which reads it.


def test_an_unchanged_source_is_only_asked_for_its_revision(opened: Open, source: MemorySource) -> None:
    index = opened()
    index.sync(source)
    source.chunks.clear()
    index.sync(source)
    assert list(index.search_vectors(NORTH, 1)) == [1]


def test_an_emptied_source_leaves_nothing(opened: Open, source: MemorySource) -> None:
    index = opened()
    index.sync(source)
    for chunk_id in (1, 2, 3):
        source.remove(chunk_id)
    index.sync(source)
    assert index.search_vectors(NORTH, 5) == {}
    assert index.search_text("apples whales", 5).scores == {}
    assert list(index.check()) == []


def test_another_embedder_never_sees_the_vectors_of_the_first(opened: Open, source: MemorySource) -> None:
    opened().sync(source)
    turned = MemorySource()
    turned.add(1, "apples grow on trees", EAST)
    other = opened("other compass")
    other.sync(turned)
    assert other.search_vectors(EAST, 5) == {ChunkId(1): pytest.approx(1)}


@pytest.mark.parametrize("query", QUERIES)
def test_scores_of_words_are_alike_in_both(tmp_path: Path, in_postgres: PostgresIndexes, query: str) -> None:
    """tantivy rounds the length of a text to one of 256, so its scores are off by a few per cent."""
    source = MemorySource()
    for chunk_id, text in TEXTS.items():
        source.add(chunk_id, text, NORTH)
    files = StoreIndex(tmp_path, embedder_id="compass", dimensions=2)
    inside = in_postgres.open(GenerationRow(id=7, store_id="vs_1"), SimpleNamespace(id="compass", dimensions=2))  # type: ignore[arg-type]
    for index in (files, inside):
        index.sync(source)
    expected, found = files.search_text(query, 10), inside.search_text(query, 10)
    assert found.ceiling == pytest.approx(expected.ceiling)
    assert found.scores == pytest.approx(expected.scores, rel=0.05)
