"""Stores of a few files, and what is asked of their generations, for tests of indexes."""

from pathlib import Path

from sqlalchemy import select

from rag.chunk import ChunkingStrategy
from services.folders import walk
from services.jobs.job import INDEX
from services.mending import find_problems, mend
from services.storage.generations import live_generation, progress_of
from services.storage.tables import (
    DEFAULT_PROJECT,
    GenerationRow,
    IndexedDocumentRow,
    JobRow,
    VectorRow,
    VectorStoreRow,
    WindowRow,
)
from services.storage.vector_stores import create_store, find_store_by_name
from services.wiring import Services

SMALL = ChunkingStrategy(max_tokens=100)
PIPES, SHIPS = "copper pipes in old houses\n", "wooden ships on deep water\n"


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def filled(services: Services, folder: Path, name: str = "docs") -> str:
    with services.database.write() as session:
        store = create_store(session, DEFAULT_PROJECT, name=name, embedder="words").id
    write(folder, "pipes.txt", PIPES)
    write(folder, "ships.txt", SHIPS)
    ingest(services, store, folder)
    return store


def ingest(services: Services, store: str, folder: Path, chunking: ChunkingStrategy | None = None) -> None:
    worker = services.new_worker()
    files = walk([folder])
    added = services.ingestion.add_paths(DEFAULT_PROJECT, store, files, chunking=chunking, owner=worker.owner)
    worker.run_until_idle([one.job_id for one in added if one.job_id])


def row_of(services: Services, store: str) -> VectorStoreRow:
    with services.database.read() as session:
        row = find_store_by_name(session, DEFAULT_PROJECT, store)
        assert row is not None
        return row


def begin(services: Services, store: str, **wanted: object) -> GenerationRow | None:
    with services.database.write() as session:
        row = find_store_by_name(session, DEFAULT_PROJECT, store)
        assert row is not None
        return services.generations.begin(session, row, **wanted)  # type: ignore[arg-type]


def update(services: Services, store: str, **wanted: object) -> None:
    """Make another generation of a store's index and switch to it."""
    begin(services, store, **wanted)
    run_jobs(services)


def roll_back(services: Services, store: str) -> None:
    with services.database.write() as session:
        row = find_store_by_name(session, DEFAULT_PROJECT, store)
        assert row is not None
        services.generations.roll_back(session, row)
    run_jobs(services)


def run_jobs(services: Services) -> None:
    """Make all generations that are waiting to be made; what else waits in the queue is left alone."""

    def idle() -> bool:
        with services.database.read() as session:
            waiting = select(JobRow.seq).where(JobRow.kind == INDEX, JobRow.state.in_(("queued", "running")))
            return session.scalar(waiting.limit(1)) is None

    services.new_index_worker().run_until(idle)


def live(services: Services, store: str) -> GenerationRow:
    with services.database.read() as session:
        return live_generation(session, row_of(services, store).id)


def states(services: Services) -> list[tuple[int, str]]:
    with services.database.read() as session:
        return [(row.id, row.state) for row in session.scalars(select(GenerationRow).order_by(GenerationRow.id))]


def errors(services: Services) -> list[str | None]:
    with services.database.read() as session:
        return list(session.scalars(select(JobRow.error).order_by(JobRow.seq)))


def done(services: Services, generation_id: int) -> int:
    with services.database.read() as session:
        return progress_of(session, session.get_one(GenerationRow, generation_id)).done


def generations_with_documents(services: Services) -> set[int]:
    with services.database.read() as session:
        return set(session.scalars(select(IndexedDocumentRow.generation_id)))


def cosines(services: Services, store: str, query: str = "metal") -> dict[str, float]:
    hits = services.searching.search(DEFAULT_PROJECT, [store], query)
    return {hit.passage.filename: round(hit.cosine or 0, 3) for hit in hits}


def problems(services: Services, store: str) -> list[str]:
    return [problem.says for problem in find_problems(services, row_of(services, store))]


def mended(services: Services, store: str) -> list[str]:
    """Mend what is wrong with a store's index; give what is left."""
    row = row_of(services, store)
    mend(services, row, find_problems(services, row))
    return problems(services, store)


def vectors_are_all_used(services: Services) -> bool:
    with services.database.read() as session:
        return set(session.scalars(select(VectorRow.key))) == set(session.scalars(select(WindowRow.vector_key)))
