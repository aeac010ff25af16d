"""Mending a store's index: what is derived is derived again, from the texts that are kept or else from the files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from rag.ports import Embedder
from services.errors import BadRequest
from services.indexing import Filling
from services.storage.chunks import SqlChunkSource
from services.storage.generations import live_generation
from services.storage.stored import SoundVectors, unused_vectors
from services.storage.tables import DocumentRow, GenerationRow, GenerationState, VectorStoreRow
from services.storage.vectors import remove_unused_vectors
from services.verifying import Problem, check_store, documents_of

if TYPE_CHECKING:
    from services.wiring import Services


def find_problems(services: "Services", store: VectorStoreRow) -> list[Problem]:
    """Give all that differs in a store's live generation. Raises EmbedderMismatch, EmbedderUnavailable."""
    generation, embedder = _live(services, store)
    return list(check_store(services.database, services.indexes, generation, embedder))


def mend(services: "Services", store: VectorStoreRow, problems: Sequence[Problem]) -> None:
    """Mend what can be mended of these problems."""
    generation, embedder = _live(services, store)
    _put_anew(services, generation, embedder, documents_of(problems, reread=False))
    _read_anew(services, documents_of(problems, reread=True))
    if any(problem.unused for problem in problems):
        with services.database.write() as session:
            for project_id, keys in unused_vectors(session).items():
                remove_unused_vectors(session, project_id, keys)
    if any(problem.of_index for problem in problems):
        rebuild(services, store)


def rebuild(services: "Services", store: VectorStoreRow) -> int:
    """Make the index anew from the chunks; give how many chunks are in it."""
    generation, embedder = _live(services, store)
    services.indexes.clear(generation)
    source = SqlChunkSource(services.database, generation)
    services.indexes.open(generation, embedder).sync(source)
    return len(source.chunk_ids())


def _live(services: "Services", store: VectorStoreRow) -> tuple[GenerationRow, Embedder]:
    with services.database.read() as session:
        generation = live_generation(session, store.id)
    return generation, services.embedders.named(store.project_id, generation.embedder)


def _put_anew(services: "Services", generation: GenerationRow, embedder: Embedder, seqs: Sequence[int]) -> None:
    """Cut the documents again, and embed what has no sound vector. Their chunks get other ids: every index follows."""

    def guard(session: Session) -> GenerationRow:
        row = session.get(GenerationRow, generation.id)
        if row is None or row.state != GenerationState.LIVE:
            raise BadRequest("Another generation of the index went live meanwhile: verify it again.")
        return row

    filling = Filling(
        database=services.database,
        generation=generation,
        embedder=embedder,
        cache=SoundVectors(services.database, generation.project_id),
        drawing=services.drawing,
        guard=guard,
    )
    filling.put(seqs)


def _read_anew(services: "Services", seqs: Sequence[int]) -> None:
    """Ingest documents from their files, here or in the worker that comes first."""
    if not seqs:
        return
    with services.database.write() as session:
        documents = session.scalars(select(DocumentRow).where(DocumentRow.seq.in_(seqs))).all()
        jobs = services.ingestion.read_again(session, documents)
    services.new_worker().run_until_idle(jobs)
