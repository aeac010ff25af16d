"""What the command line shows of stores: each with its documents counted, and the documents of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.storage.generations import (
    chunking_of,
    list_generations,
    live_generation,
    progress_of,
)
from services.storage.store_files import count_by_store
from services.storage.tables import ChunkRow, DocumentRow, FileRow, GenerationRow, VectorStoreRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOverview:
    """A store and what is in it; times are unix seconds."""

    id: str
    name: str | None
    embedder: str
    generation: int
    created_at: int
    last_active_at: int
    documents: dict[str, int]
    chunks: int
    usage_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOverview:
    """A document of a store, with the reason where it failed."""

    file_id: str
    filename: str
    status: str
    error: str | None
    chunks: int
    usage_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOverview:
    """A generation of a store's index, how far it is made, and why it failed if it did."""

    id: int
    state: str
    embedder: str
    chunk_tokens: int
    overlap_tokens: int
    graph: bool
    documents_done: int
    documents: int
    created_at: int
    error: str | None


def store_overviews(session: Session, project_id: str) -> list[StoreOverview]:
    """Give all stores of a project, oldest first."""
    mine = select(VectorStoreRow).where(VectorStoreRow.project_id == project_id).order_by(VectorStoreRow.seq)
    return [store_overview(session, store) for store in session.scalars(mine)]


def store_overview(session: Session, store: VectorStoreRow) -> StoreOverview:
    """Give one store with its documents by status; every status is named."""
    counts = count_by_store(session, [store])[store.id]
    live = live_generation(session, store.id)
    chunks = session.scalar(select(func.count()).select_from(ChunkRow).where(ChunkRow.generation_id == live.id))
    return StoreOverview(
        id=store.id,
        name=store.name,
        embedder=live.embedder,
        generation=live.id,
        created_at=store.created_at,
        last_active_at=store.last_active_at,
        documents=counts.by_status,
        chunks=chunks or 0,
        usage_bytes=counts.usage_bytes,
    )


def document_overviews(session: Session, store_id: str) -> Sequence[DocumentOverview]:
    """Give the documents of a store by name."""
    live = live_generation(session, store_id).id
    of_it = (ChunkRow.document_seq == DocumentRow.seq) & (ChunkRow.generation_id == live)
    chunks = select(func.count()).where(of_it).scalar_subquery()
    mine = select(DocumentRow, chunks).where(DocumentRow.store_id == store_id).order_by(DocumentRow.filename)
    return [
        DocumentOverview(
            file_id=row.file_id,
            filename=row.filename,
            status=row.status,
            error=row.error_message,
            chunks=count,
            usage_bytes=row.usage_bytes,
        )
        for row, count in session.execute(mine)
    ]


def generation_overviews(session: Session, store_id: str) -> list[GenerationOverview]:
    """Give the generations of a store's index, the oldest first."""
    return [generation_overview(session, row) for row in list_generations(session, store_id)]


def generation_overview(session: Session, row: GenerationRow) -> GenerationOverview:
    """Give one generation with how far it is made."""
    progress, chunking = progress_of(session, row), chunking_of(row)
    return GenerationOverview(
        id=row.id,
        state=row.state,
        embedder=row.embedder,
        chunk_tokens=chunking.max_tokens,
        overlap_tokens=chunking.overlap_tokens,
        graph=row.graph,
        documents_done=progress.done,
        documents=progress.total,
        created_at=row.created_at,
        error=row.error,
    )


def documents_of_file(session: Session, file: FileRow) -> list[dict[str, str | None]]:
    """Give what became of a file in each store that has it."""
    mine = select(DocumentRow).where(DocumentRow.project_id == file.project_id, DocumentRow.file_id == file.id)
    rows = session.scalars(mine.order_by(DocumentRow.seq))
    return [{"store_id": row.store_id, "status": row.status, "error": row.error_message} for row in rows]
