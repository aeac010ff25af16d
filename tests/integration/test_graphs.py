"""A store's knowledge graph comes, changes and goes with its passages, and only where it was asked for."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from rag.types import Hit
from services.storage.documents import delete_document, delete_store
from services.storage.graph_tables import GraphEntityRow, GraphRelationRow
from services.storage.tables import DEFAULT_PROJECT, ChunkRow, DocumentRow
from services.storage.vector_stores import create_store
from services.wiring import Services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.indexed import (
    SMALL,
    begin,
    filled,
    ingest,
    live,
    mended,
    problems,
    roll_back,
    row_of,
    run_jobs,
    states,
    update,
    write,
)

QUESTION = "who founded Acme Corp"
FIRM, FOUNDER = "Acme Corp was founded by Jane Roe.\n", "Rivers and boats filled the childhood of Jane Roe.\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    write(folder, "firm.txt", FIRM)
    write(folder, "founder.txt", FOUNDER)
    return folder


@pytest.fixture
def store(services: Services, docs: Path) -> str:
    """A store with a few files that others crowd out, and no graph."""
    for number in range(12):
        write(docs, f"firm-{number}.txt", f"who founded number {number} is known\n")
    return filled(services, docs)


def search(services: Services, store: str, query: str = QUESTION) -> dict[str, Hit]:
    return {hit.passage.filename: hit for hit in services.searching.search(DEFAULT_PROJECT, [store], query)}


def rows(services: Services, generation_id: int | None = None) -> int:
    """How many entities there are, of one generation or of all."""
    counted = select(func.count()).select_from(GraphEntityRow)
    mine = counted if generation_id is None else counted.where(GraphEntityRow.generation_id == generation_id)
    with services.database.read() as session:
        return session.scalar(mine) or 0


def relations(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(GraphRelationRow)) or 0


def reached(services: Services, store: str) -> bool:
    return "founder.txt" in search(services, store)


def test_there_is_no_graph_unless_it_is_asked_for(services: Services, store: str) -> None:
    assert (live(services, store).graph, rows(services)) == (False, 0)
    assert not reached(services, store)


def test_a_store_that_has_documents_gets_one_and_nothing_is_embedded_again(services: Services, store: str) -> None:
    embedder = services.embedder = WordEmbedder()
    update(services, store, graph=True)
    assert (live(services, store).graph, embedder.seen) == (True, [])
    hit = search(services, store)["founder.txt"]
    assert hit.graph_path == ("Acme Corp", "was founded by", "Jane Roe")
    assert hit.rank <= 4
    assert problems(services, store) == []


def test_it_is_searched_without_until_the_graph_is_made(services: Services, store: str) -> None:
    begin(services, store, graph=True)
    assert not reached(services, store)
    run_jobs(services)
    assert reached(services, store)


def test_switching_it_off_or_back_is_a_generation_too(services: Services, store: str) -> None:
    update(services, store, graph=True)
    update(services, store, graph=False)
    assert not reached(services, store)
    roll_back(services, store)
    assert reached(services, store)


def test_another_change_keeps_the_graph_and_the_same_is_none(services: Services, store: str) -> None:
    update(services, store, graph=True)
    assert begin(services, store, graph=True) is None
    update(services, store, chunking=SMALL)
    assert live(services, store).graph
    assert reached(services, store)


def test_documents_that_come_later_are_in_it(services: Services, docs: Path) -> None:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name="docs", embedder="words", graph=True).id
    ingest(services, store, docs)
    assert search(services, store)["founder.txt"].graph_path
    write(docs, "firm.txt", FIRM.replace("Jane Roe", "Bo Ray"))
    ingest(services, store, docs)
    assert not search(services, store)["founder.txt"].graph_path


def test_rows_go_with_their_documents_their_generation_and_their_store(services: Services, store: str) -> None:
    update(services, store, graph=True)
    before = rows(services)
    with services.database.write() as session:
        firm = session.scalars(select(DocumentRow).where(DocumentRow.filename == "firm.txt")).one()
        delete_document(session, firm)
    assert 0 < rows(services) == before - 2
    assert relations(services) == 0

    generation = live(services, store).id
    update(services, store, graph=False)
    update(services, store, chunking=SMALL)
    assert (rows(services, generation), generation in dict(states(services))) == (0, False)

    update(services, store, graph=True)
    with services.database.write() as session:
        delete_store(session, row_of(services, store))
    assert rows(services) == 0


def test_a_repair_draws_what_it_puts_in_again(services: Services, store: str) -> None:
    update(services, store, graph=True)
    before = rows(services)
    with services.database.write() as session:
        for chunk in session.scalars(select(ChunkRow)):
            chunk.text = "damaged"
    assert mended(services, store) == []
    assert rows(services, live(services, store).id) == before
