"""A store's windows, as a move to another embedder reads them and gives them new vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from rag.ingest import VectorKey
from services.storage.documents import raise_revision
from services.storage.tables import ChunkRow, DocumentRow, DocumentTextRow, VectorRow, VectorStoreRow, WindowRow
from services.storage.vectors import known_keys, remove_unused_vectors


@dataclass(frozen=True, slots=True)
class WindowId:
    """The `ordinal`-th window of a chunk."""

    chunk_id: int
    ordinal: int


def window_ids(session: Session, store_id: str) -> set[WindowId]:
    """Give all windows of a store."""
    mine = select(WindowRow.chunk_id, WindowRow.ordinal).join(ChunkRow).where(ChunkRow.store_id == store_id)
    return {WindowId(*row) for row in session.execute(mine)}


def documents_with_windows(session: Session, store_id: str) -> Sequence[int]:
    """Give the documents of a store that have chunks, the oldest first."""
    mine = select(ChunkRow.document_seq).where(ChunkRow.store_id == store_id)
    return session.scalars(mine.distinct().order_by(ChunkRow.document_seq)).all()


def window_texts(session: Session, document_seq: int) -> dict[WindowId, str]:
    """Give the text of each window of a document; nothing of one that has gone."""
    text = session.scalar(select(DocumentTextRow.text).where(DocumentTextRow.document_seq == document_seq))
    mine = select(WindowRow.chunk_id, WindowRow.ordinal, WindowRow.start, WindowRow.end).join(ChunkRow)
    rows = session.execute(mine.where(ChunkRow.document_seq == document_seq)) if text is not None else ()
    return {WindowId(row.chunk_id, row.ordinal): (text or "")[row.start : row.end] for row in rows}


def switch_vectors(
    session: Session,
    store: VectorStoreRow,
    keys: Mapping[WindowId, VectorKey],
    *,
    embedder: str,
    vector_bytes: int,
) -> bool:
    """Give every window of a store its vector of another embedder, all in the caller's transaction.

    False, with nothing changed, where a window or a vector is missing: it came, or went, since `keys` was made.
    """
    present = window_ids(session, store.id)
    wanted = {keys[window] for window in present if window in keys}
    if not present <= keys.keys() or len(known_keys(session, store.project_id, wanted)) < len(wanted):
        return False
    old_keys = _vector_keys(session, store.id)
    _add_usage(session, store.id, vector_bytes - _bytes_of(session, store, old_keys))
    new_key = update(WindowRow).where(WindowRow.chunk_id == bindparam("chunk"), WindowRow.ordinal == bindparam("place"))
    values = [{"chunk": one.chunk_id, "place": one.ordinal, "vector_key": keys[one]} for one in present]
    if values:
        session.connection().execute(new_key.values(vector_key=bindparam("vector_key")), values)
    remove_unused_vectors(session, store.project_id, old_keys - wanted)
    store.embedder = embedder
    session.flush()
    raise_revision(session, store.id)
    return True


def _vector_keys(session: Session, store_id: str) -> set[VectorKey]:
    return set(session.scalars(select(WindowRow.vector_key).join(ChunkRow).where(ChunkRow.store_id == store_id)))


def _bytes_of(session: Session, store: VectorStoreRow, keys: set[VectorKey]) -> int:
    """Give the size of a vector; all of a store have the same."""
    one = select(func.length(VectorRow.vector)).where(VectorRow.project_id == store.project_id)
    return session.scalar(one.where(VectorRow.key == next(iter(keys)))) or 0 if keys else 0


def _add_usage(session: Session, store_id: str, more_bytes: int) -> None:
    """Count so many bytes more for each window of each document."""
    windows = select(func.count()).select_from(WindowRow).join(ChunkRow)
    mine = windows.where(ChunkRow.document_seq == DocumentRow.seq).scalar_subquery()
    used = DocumentRow.usage_bytes + more_bytes * mine
    session.execute(update(DocumentRow).where(DocumentRow.store_id == store_id).values(usage_bytes=used))
