"""Pages of documents: spans of the canonical text, read without the rest of it."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rag.types import ChunkId
from services.storage.tables import ChunkRow, DocumentRow, DocumentTextRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOutline:
    """A document's canonical text without its characters: `pages` as (number, start, end), at least one."""

    document_seq: int
    store_id: str
    filename: str
    pages: tuple[tuple[int, int, int], ...]


def find_outline(
    session: Session, project_id: str, file_id: str, *, store_id: str | None = None, chunk_id: ChunkId | None = None
) -> TextOutline | None:
    """Give the outline of a file's text: in that store, with that chunk, else in the store that it came to last.

    A format without pages is one page.
    """
    documents = (
        select(
            DocumentRow.seq,
            DocumentRow.store_id,
            DocumentRow.filename,
            DocumentTextRow.pages,
            func.length(DocumentTextRow.text).label("size"),
        )
        .join(DocumentTextRow, DocumentTextRow.document_seq == DocumentRow.seq)
        .where(DocumentRow.project_id == project_id, DocumentRow.file_id == file_id)
        .order_by(DocumentRow.seq.desc())
    )
    if store_id is not None:
        documents = documents.where(DocumentRow.store_id == store_id)
    if chunk_id is not None:
        documents = documents.join(ChunkRow, ChunkRow.document_seq == DocumentRow.seq).where(ChunkRow.id == chunk_id)
    found = session.execute(documents.limit(1)).one_or_none()
    if found is None:
        return None
    pages = tuple((number, start, end) for number, start, end in found.pages) or ((1, 0, found.size),)
    return TextOutline(document_seq=found.seq, store_id=found.store_id, filename=found.filename, pages=pages)


def read_span(session: Session, outline: TextOutline, start: int, end: int) -> str:
    """Give the characters of the canonical text from `start` to before `end`."""
    part = func.substr(DocumentTextRow.text, start + 1, end - start)
    return session.scalar(select(part).where(DocumentTextRow.document_seq == outline.document_seq)) or ""


def chunk_span(session: Session, chunk_id: ChunkId) -> tuple[int, int] | None:
    """Give where a chunk starts and ends in the canonical text."""
    found = session.execute(select(ChunkRow.start, ChunkRow.end).where(ChunkRow.id == chunk_id)).one_or_none()
    return None if found is None else (found.start, found.end)
