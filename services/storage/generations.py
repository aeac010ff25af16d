"""Generations of a store's index: what there are, what one lacks, and the switch from one to another."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from rag.chunk import ChunkingStrategy
from services.storage.tables import (
    DocumentRow,
    DocumentTextRow,
    GenerationRow,
    GenerationState,
    IndexedDocumentRow,
    VectorStoreRow,
)

BEING_MADE = (GenerationState.BUILDING, GenerationState.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many of a store's documents are in a generation."""

    done: int
    total: int


def add_generation(
    session: Session,
    store: VectorStoreRow,
    *,
    embedder: str,
    chunking: ChunkingStrategy,
    state: GenerationState,
    turn: int | None = None,
    graph: bool = False,
) -> GenerationRow:
    """Make an empty generation of a store."""
    row = GenerationRow(
        project_id=store.project_id,
        store_id=store.id,
        state=state,
        embedder=embedder,
        chunking=asdict(chunking),
        sentences=True,
        graph=graph,
        created_at=int(time.time()),
        turn=turn,
    )
    session.add(row)
    session.flush()
    return row


def live_generation(session: Session, store_id: str, *, hold: bool = False) -> GenerationRow:
    """Give the generation that a store is searched by; every store has one. With `hold` none is switched meanwhile."""
    mine = _of(store_id, GenerationState.LIVE)
    # SQLite needs no lock of a row: a transaction that writes is alone.
    return session.scalars(mine.with_for_update() if hold else mine).one()


def generation_being_made(session: Session, store_id: str) -> GenerationRow | None:
    return session.scalar(_of(store_id, *BEING_MADE))


def list_generations(session: Session, store_id: str) -> Sequence[GenerationRow]:
    """Give a store's generations but those that are being removed, the oldest first."""
    return session.scalars(_of(store_id, *(set(GenerationState) - {GenerationState.REMOVED}))).all()


def last_retired(session: Session, store_id: str) -> GenerationRow | None:
    """Give the generation that was live before the present one, if it is kept."""
    retired = _of(store_id, GenerationState.RETIRED).order_by(None).order_by(GenerationRow.turn.desc())
    return session.scalars(retired).first()


def chunking_of(generation: GenerationRow) -> ChunkingStrategy:
    """Give how a generation cuts the documents that ask for nothing else."""
    return ChunkingStrategy(**generation.chunking)


def strategy_of(document: DocumentRow, generation: GenerationRow) -> ChunkingStrategy:
    """Give how a document is cut in a generation: as was asked for it, else as the generation does."""
    return ChunkingStrategy(**document.chunking) if document.chunking else chunking_of(generation)


def missing_documents(session: Session, generation: GenerationRow, limit: int | None = None) -> Sequence[int]:
    """Give documents of the store that have a text and are not in the generation, the oldest first."""
    return session.scalars(_missing(generation).order_by(DocumentRow.seq).limit(limit)).all()


def progress_of(session: Session, generation: GenerationRow) -> Progress:
    mine = select(func.count()).where(DocumentRow.store_id == generation.store_id)
    total = session.scalar(mine.select_from(DocumentRow).join(DocumentTextRow)) or 0
    missing = session.scalar(select(func.count()).select_from(_missing(generation).subquery())) or 0
    return Progress(done=total - missing, total=total)


def make_live(session: Session, generation: GenerationRow, *, kept: int) -> bool:
    """Let a store be searched by another of its generations; of those before, `kept` stay and the others go.

    False, with nothing changed, where a document is missing: it came, or changed, since it was looked for.
    """
    before = live_generation(session, generation.store_id, hold=True)
    if missing_documents(session, generation, limit=1):
        return False
    # One after the other: at no moment may two be live.
    before.state = GenerationState.RETIRED
    session.flush()
    generation.state, generation.turn, generation.error = GenerationState.LIVE, (before.turn or 0) + 1, None
    session.flush()
    _count_usage(session, generation)
    retired = session.scalars(_of(generation.store_id, GenerationState.RETIRED).order_by(None)).all()
    failed = session.scalars(_of(generation.store_id, GenerationState.FAILED)).all()
    for old in [*sorted(retired, key=lambda one: -(one.turn or 0))[kept:], *failed]:
        old.state = GenerationState.REMOVED
    session.flush()
    return True


def removed_generations(session: Session, store_id: str | None = None) -> Sequence[GenerationRow]:
    """Give the generations, of one store or of all, whose rows are to go."""
    gone = select(GenerationRow).where(GenerationRow.state == GenerationState.REMOVED)
    mine = gone if store_id is None else gone.where(GenerationRow.store_id == store_id)
    return session.scalars(mine.order_by(GenerationRow.id)).all()


def raise_revision(session: Session, generation_id: int) -> None:
    """Tell every process that the chunks of a generation have changed."""
    mine = update(GenerationRow).where(GenerationRow.id == generation_id)
    session.execute(mine.values(revision=GenerationRow.revision + 1))


def raise_revisions(session: Session, store_id: str) -> None:
    """Tell every process that the chunks of all of a store's generations have changed."""
    mine = update(GenerationRow).where(GenerationRow.store_id == store_id)
    session.execute(mine.values(revision=GenerationRow.revision + 1))


def _of(store_id: str, *states: GenerationState) -> Select[GenerationRow]:
    mine = select(GenerationRow).where(GenerationRow.store_id == store_id, GenerationRow.state.in_(states))
    return mine.order_by(GenerationRow.id)


def _missing(generation: GenerationRow) -> Select[int]:
    there = select(IndexedDocumentRow.document_seq).where(IndexedDocumentRow.generation_id == generation.id)
    mine = select(DocumentRow.seq).join(DocumentTextRow).where(DocumentRow.store_id == generation.store_id)
    return mine.where(DocumentRow.seq.not_in(there))


def _count_usage(session: Session, generation: GenerationRow) -> None:
    """Let each document take up what it does in this generation."""
    used = select(IndexedDocumentRow.usage_bytes).where(
        IndexedDocumentRow.document_seq == DocumentRow.seq, IndexedDocumentRow.generation_id == generation.id
    )
    mine = update(DocumentRow).where(DocumentRow.store_id == generation.store_id)
    session.execute(mine.values(usage_bytes=func.coalesce(used.scalar_subquery(), DocumentRow.usage_bytes)))
