"""What is stored of documents in a generation, as verifying reads it: as it is, checked for nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from rag.ports import VectorKey
from rag.types import ChunkId
from rag.verify import StoredChunk, StoredWindow
from services.storage.database import Database
from services.storage.encoding import checksum, decode_vector
from services.storage.tables import (
    ChunkRow,
    DocumentRow,
    DocumentTextRow,
    GenerationRow,
    IndexedDocumentRow,
    VectorRow,
    WindowRow,
)
from services.storage.vectors import SqlVectorCache, pages

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    seq: int
    filename: str
    text: str | None
    media_type: str
    chunks: tuple[StoredChunk, ...]


class SoundVectors(SqlVectorCache):
    """The vectors whose bytes are those that were written; the others count as not known."""

    def known(self, keys: Sequence[VectorKey]) -> set[VectorKey]:
        mine = select(VectorRow.key, VectorRow.vector, VectorRow.sentences, VectorRow.checksum)
        with self._database.read() as session:
            return {
                key
                for page in pages(keys)
                for key, vector, sentences, written in session.execute(
                    mine.where(VectorRow.project_id == self._project_id, VectorRow.key.in_(page))
                )
                if sentences is not None and checksum(vector, sentences) == written
            }


def indexed_documents(session: Session, generation: GenerationRow, *, since: int = 0) -> Sequence[int]:
    """Give the documents of a generation, the oldest first; only those with chunks above the id `since`, if any."""
    if since:
        newer = select(ChunkRow.document_seq).where(ChunkRow.generation_id == generation.id, ChunkRow.id > since)
        return session.scalars(newer.distinct().order_by(ChunkRow.document_seq)).all()
    mine = select(IndexedDocumentRow.document_seq).where(IndexedDocumentRow.generation_id == generation.id)
    return session.scalars(mine.order_by(IndexedDocumentRow.document_seq)).all()


def read_stored(database: Database, generation: GenerationRow, seq: int) -> StoredDocument | None:
    """Give what there is of a document in a generation, of one moment; None where it is not in it."""
    with database.read() as session:
        mine = select(DocumentRow.filename, DocumentTextRow.text, DocumentTextRow.media_type)
        found = session.execute(
            mine.join(IndexedDocumentRow, IndexedDocumentRow.document_seq == DocumentRow.seq)
            .outerjoin(DocumentTextRow, DocumentTextRow.document_seq == DocumentRow.seq)
            .where(DocumentRow.seq == seq, IndexedDocumentRow.generation_id == generation.id)
        ).one_or_none()
        if found is None:
            return None
        chunks = tuple(_chunks(session, generation.id, seq))
        media_type = found.media_type or ""
        return StoredDocument(seq=seq, filename=found.filename, text=found.text, media_type=media_type, chunks=chunks)


def unused_vectors(session: Session) -> dict[str, list[VectorKey]]:
    """Give the vectors that no window uses, by project."""
    same = and_(WindowRow.vector_key == VectorRow.key, WindowRow.project_id == VectorRow.project_id)
    unused = select(VectorRow.project_id, VectorRow.key).where(~select(WindowRow.chunk_id).where(same).exists())
    rows = session.execute(unused.order_by(VectorRow.project_id)).all()
    return {project_id: [row.key for row in group] for project_id, group in groupby(rows, lambda row: row.project_id)}


def database_faults(session: Session) -> Iterable[str]:
    """Give what the database itself finds wrong with its files."""
    if session.get_bind().dialect.name != "sqlite":
        return ()
    found = session.scalars(select(func.pragma_quick_check().table_valued("quick_check").c.quick_check)).all()
    return [str(line) for line in found if line != "ok"]


def _chunks(session: Session, generation_id: int, seq: int) -> Iterable[StoredChunk]:
    mine = ChunkRow.document_seq == seq, ChunkRow.generation_id == generation_id
    windows = _windows(session, *mine)
    rows = select(ChunkRow.id, ChunkRow.ordinal, ChunkRow.text, ChunkRow.start, ChunkRow.end)
    for row in session.execute(rows.where(*mine).order_by(ChunkRow.ordinal, ChunkRow.id)).all():
        yield StoredChunk(
            chunk_id=ChunkId(row.id),
            ordinal=row.ordinal,
            text=row.text,
            start=row.start,
            end=row.end,
            windows=tuple(windows.get(row.id, ())),
        )


def _windows(session: Session, *chunks: ColumnElement[bool]) -> dict[int, list[StoredWindow]]:
    same = and_(VectorRow.project_id == WindowRow.project_id, VectorRow.key == WindowRow.vector_key)
    rows = session.execute(
        select(WindowRow, VectorRow.vector, VectorRow.sentences, VectorRow.checksum)
        .join(ChunkRow, ChunkRow.id == WindowRow.chunk_id)
        .outerjoin(VectorRow, same)
        .where(*chunks)
        .order_by(WindowRow.chunk_id, WindowRow.ordinal)
    )
    found: dict[int, list[StoredWindow]] = {}
    for window, vector, sentences, written in rows:
        found.setdefault(window.chunk_id, []).append(
            StoredWindow(
                start=window.start,
                end=window.end,
                key=window.vector_key,
                vector=None if vector is None or len(vector) % FLOAT_BYTES else decode_vector(vector),
                intact=vector is not None and checksum(vector, sentences) == written,
            )
        )
    return found
