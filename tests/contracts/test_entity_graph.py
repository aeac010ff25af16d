"""What every EntityGraph promises, over the database's and the one in memory."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from rag.knowledge.rules import by_rules
from rag.knowledge.walk import EntityGraph
from rag.types import ChunkId
from services.storage.database import Database
from services.storage.documents import Version, add_documents, store_versions
from services.storage.generations import live_generation
from services.storage.graphs import SqlEntityGraph
from services.storage.tables import ChunkRow
from tests.fakes.entity_graph import MemoryGraph
from tests.fakes.stored import add_store, live_of, one_chunk, put_file

FOUNDED, GREW_UP, BELOW = "Acme Corp was founded by Jane Roe.", "As a child Jane Roe lived in Lisbon.", "It was small."


class _Memory:
    def __init__(self) -> None:
        self._graph = MemoryGraph()
        self.graph: EntityGraph = self._graph

    def add(self, text: str, headings: Sequence[str] = ()) -> ChunkId:
        self._graph.add(len(self._graph.chunks) + 1, text, headings)
        return ChunkId(len(self._graph.chunks))


class _Sql:
    def __init__(self, database: Database) -> None:
        self._database = database
        add_store(database, "vs_1")
        add_store(database, "vs_other")
        self._put("vs_other", FOUNDED, ())
        self.graph: EntityGraph = SqlEntityGraph(database, live_of(database, "vs_1"))

    def add(self, text: str, headings: Sequence[str] = ()) -> ChunkId:
        return self._put("vs_1", text, headings)

    def _put(self, store: str, text: str, headings: Sequence[str]) -> ChunkId:
        with self._database.write() as session:
            file = put_file(session, "a.txt")
            (document,) = add_documents(session, store, {file.id: file})
            made = replace(one_chunk(text, np.ones((1, 2))), graphs=(by_rules(text, headings),))
            live = live_generation(session, store)
            version = Version(document=document, made=made, generation=live, sha256="0" * 64)
            store_versions(session, [version], vector_bytes=8)
            return ChunkId(session.scalars(select(ChunkRow.id).where(ChunkRow.document_seq == document.seq)).one())


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_url")) if "postgresql" in request.node.name else None


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> _Memory | _Sql:
    return _Memory() if request.param == "memory" else _Sql(request.getfixturevalue("database"))


def test_an_empty_graph_knows_nothing(store: _Memory | _Sql) -> None:
    assert (store.graph.counts(["acme corp"]), store.graph.naming([]), store.graph.links([], [])) == ({}, {}, [])


def test_entities_are_counted_and_found_by_the_passages_that_name_them(store: _Memory | _Sql) -> None:
    first, second = store.add(FOUNDED), store.add(GREW_UP)
    assert store.graph.counts(["jane roe", "acme corp", "nobody"]) == {"jane roe": 2, "acme corp": 1}
    assert store.graph.naming(["jane roe", "lisbon", "nobody"]) == {"jane roe": [first, second], "lisbon": [second]}


def test_links_are_those_of_the_named_passages_with_their_names(store: _Memory | _Sql) -> None:
    first, second = store.add(FOUNDED), store.add(GREW_UP)
    [link] = store.graph.links(["jane roe"], [first])
    assert (link.chunk_id, link.subject, link.label, link.object) == (
        first,
        "acme corp",
        "was founded by",
        "jane roe",
    )
    assert (link.subject_name, link.object_name) == ("Acme Corp", "Jane Roe")
    assert [one.chunk_id for one in store.graph.links(["jane roe"], [second, first])] in (
        [second, first],
        [first, second],
    )
    assert store.graph.links(["lisbon"], [first]) == []


def test_headings_name_what_stands_under_them(store: _Memory | _Sql) -> None:
    below = store.add(BELOW, ["Jane Roe"])
    assert store.graph.naming(["jane roe"]) == {"jane roe": [below]}
