"""What every ChunkSource promises, over the database's and the one in memory."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from rag.filters import matches
from rag.ports import ChunkSource, Comparison, Compound, Filter
from rag.types import AttributeValue, ChunkId
from services.storage.chunks import SqlChunkSource
from services.storage.database import Database
from services.storage.kept_chunks import KeptChunks
from tests.fakes.chunk_source import MemorySource
from tests.fakes.stored import add_document, add_store, live_of, remove_document

Add = Callable[..., ChunkId]
Attributes: TypeAlias = Mapping[str, AttributeValue] | None


class _Memory:
    def __init__(self) -> None:
        self.source: ChunkSource = MemorySource()
        self._next = 1

    def add(self, text: str, vectors: Any, attributes: Attributes = None, sentences: Any = None) -> ChunkId:
        chunk_id = ChunkId(self._next)
        self._next += 1
        self.source.add(  # type: ignore[attr-defined]
            chunk_id, text, vectors, title="T", attributes=attributes, sentences=sentences
        )
        return chunk_id

    def remove(self, chunk_id: ChunkId) -> None:
        self.source.remove(chunk_id)  # type: ignore[attr-defined]


class _Sql:
    def __init__(self, database: Database, kept: KeptChunks | None = None) -> None:
        self._database, self._kept = database, kept
        add_store(database, "vs_1")
        add_store(database, "vs_other")
        add_document(database, "vs_other", "another store's", np.ones((1, 2)), title="T")

    @property
    def source(self) -> ChunkSource:
        """As a search has it: with what others have read at this revision, where such is kept."""
        generation = live_of(self._database, "vs_1")
        kept = self._kept.of(generation.id, generation.revision) if self._kept else None
        return SqlChunkSource(self._database, generation, kept=kept)

    def add(self, text: str, vectors: Any, attributes: Attributes = None, sentences: Any = ()) -> ChunkId:
        given = {"attributes": attributes or {}, "sentences": sentences}
        return add_document(self._database, "vs_1", text, vectors, title="T", **given)

    def remove(self, chunk_id: ChunkId) -> None:
        remove_document(self._database, chunk_id)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_url")) if "postgresql" in request.node.name else None


@pytest.fixture(params=["memory", "sqlite", "sqlite, kept", "postgresql", "postgresql, kept"])
def store(request: pytest.FixtureRequest) -> _Memory | _Sql:
    if request.param == "memory":
        return _Memory()
    return _Sql(request.getfixturevalue("database"), KeptChunks() if "kept" in request.param else None)


ONE, TWO = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.0, 1.0], [0.6, 0.8]], dtype=np.float32)


def test_empty_store_gives_nothing(store: _Memory | _Sql) -> None:
    assert store.source.chunk_ids().tolist() == []
    assert list(store.source.rows(store.source.chunk_ids())) == []
    assert store.source.passages([ChunkId(7)]) == {}


def test_vectors_are_those_of_the_windows_and_of_their_sentences(store: _Memory | _Sql) -> None:
    with_sentences, without = store.add("a", ONE, sentences=TWO), store.add("b", TWO)
    store.remove(store.add("c", ONE))
    found = store.source.vectors([with_sentences, without, ChunkId(99)])
    assert found.keys() == {with_sentences, without}
    assert found[with_sentences].windows.tolist() == ONE.tolist()
    assert found[with_sentences].sentences == pytest.approx(TWO, abs=0.01)
    assert found[without].windows == pytest.approx(TWO)
    assert found[without].sentences.shape == (0, 2)
    assert store.source.vectors([]) == {}


def test_ids_are_ascending_and_only_this_stores(store: _Memory | _Sql) -> None:
    added = [store.add(text, ONE) for text in ("a", "b", "c")]
    assert store.source.chunk_ids().tolist() == sorted(added)
    assert store.source.chunk_ids().dtype == np.int64


def test_every_change_raises_the_revision(store: _Memory | _Sql) -> None:
    before = store.source.revision()
    chunk_id = store.add("a", ONE)
    between = store.source.revision()
    store.remove(chunk_id)
    assert before < between < store.source.revision()


def test_ids_are_never_used_again(store: _Memory | _Sql) -> None:
    first = store.add("a", ONE)
    store.remove(first)
    assert store.add("a", ONE) > first


def test_rows_carry_text_and_all_windows_in_order(store: _Memory | _Sql) -> None:
    store.add("one window", ONE)
    chunk_id = store.add("two windows", TWO)
    (row,) = store.source.rows(np.array([chunk_id]))
    assert (row.chunk_id, row.title, row.text) == (chunk_id, "T", "two windows")
    np.testing.assert_array_equal(row.vectors, TWO)
    assert row.vectors.dtype == np.float32


def test_chunks_that_have_gone_are_left_out(store: _Memory | _Sql) -> None:
    gone, there = store.add("gone", ONE), store.add("there", ONE)
    store.remove(gone)
    assert [row.chunk_id for row in store.source.rows(np.array([there, gone]))] == [there]
    assert list(store.source.passages([gone, there])) == [there]


def test_passage_has_its_documents_attributes(store: _Memory | _Sql) -> None:
    chunk_id = store.add("a", ONE, {"z": "s", "year": 2020.0, "draft": False})
    passage = store.source.passages([chunk_id])[chunk_id]
    assert (passage.text, passage.start, passage.end) == ("a", 0, 1)
    assert list(passage.attributes.items()) == [("z", "s"), ("year", 2020.0), ("draft", False)]


ATTRIBUTES: list[Mapping[str, AttributeValue]] = [
    {},
    {"a": "x"},
    {"a": "y", "b": 1.0},
    {"a": 1.0},
    {"a": True},
    {"a": False, "b": "x"},
    {"a": "1"},
    {"a": "\U0001f600"},
    {"a": "\uffff"},
    {"a": -2.5, "b": "y"},
    {"a": 1e300},
]
_values = strategies.sampled_from(["x", "y", "1", "", "\uffff", "\U0001f600", 1, 1.0, 0, -2.5, 10**400, True, False])
_keys = strategies.sampled_from(["a", "b", "absent"])
_comparisons = strategies.builds(
    Comparison, strategies.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]), _keys, _values
) | strategies.builds(
    Comparison, strategies.sampled_from(["in", "nin"]), _keys, strategies.lists(_values, max_size=3).map(tuple)
)
_filters = strategies.recursive(
    _comparisons,
    lambda inner: strategies.builds(
        Compound, strategies.sampled_from(["and", "or"]), strategies.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters=_filters)
def test_filters_mean_what_rag_says(store: _Memory | _Sql, filters: Filter) -> None:
    if not len(store.source.chunk_ids()):
        for number, attributes in enumerate(ATTRIBUTES):
            store.add(str(number), ONE, attributes)
    ids = store.source.chunk_ids().tolist()
    wanted = [id_ for id_, attributes in zip(ids, ATTRIBUTES, strict=True) if matches(filters, attributes)]
    assert store.source.matching(filters).tolist() == wanted
