"""The files of a store and of a batch, as the API lists and counts them. Whoever calls has the store's row."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.storage.paging import Page, PageRequest, read_page
from services.storage.tables import DocumentRow, DocumentTextRow, FileBatchRow, FileStatus, VectorStoreRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCounts:
    """How many files are in each state, and what they take up together."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    usage_bytes: int = 0

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    @property
    def by_status(self) -> dict[str, int]:
        return {status.value: getattr(self, status.value) for status in FileStatus}


def find_store_files(session: Session, store_id: str, file_ids: Collection[str]) -> dict[str, DocumentRow]:
    """Give the documents that files are in a store, however they came there, by the files' ids."""
    mine = select(DocumentRow).where(DocumentRow.store_id == store_id, DocumentRow.file_id.in_(file_ids))
    return {row.file_id: row for row in session.scalars(mine.order_by(DocumentRow.seq.desc()))}


def list_store_files(
    session: Session,
    store: VectorStoreRow,
    request: PageRequest,
    *,
    status: FileStatus | None = None,
    batch: FileBatchRow | None = None,
) -> Page[DocumentRow]:
    mine = [DocumentRow.store_id == store.id]
    if batch is not None:
        mine.append(DocumentRow.batch_id == batch.id)
    rows = select(DocumentRow).where(*mine)
    if status is not None:
        rows = rows.where(DocumentRow.status == status)
    cursors = select(DocumentRow.seq).where(*mine)
    return read_page(session, rows, request, seq=DocumentRow.seq, cursors=cursors, cursor_id=DocumentRow.file_id)


def documents_in(session: Session, stores: Sequence[VectorStoreRow], *, limit: int) -> Sequence[DocumentRow]:
    """Give some documents of these stores, no more than `limit`."""
    ids = [store.id for store in stores]
    return session.scalars(select(DocumentRow).where(DocumentRow.store_id.in_(ids)).limit(limit)).all()


def count_by_store(session: Session, stores: Iterable[VectorStoreRow]) -> dict[str, FileCounts]:
    """Give the counts of each store by its id."""
    ids = [store.id for store in stores]
    counted = _counts(session, DocumentRow.store_id, DocumentRow.store_id.in_(ids))
    return {store_id: counted.get(store_id, FileCounts()) for store_id in ids}


def count_batch(session: Session, batch: FileBatchRow) -> FileCounts:
    counted = _counts(session, DocumentRow.batch_id, DocumentRow.batch_id == batch.id)
    return counted.get(batch.id, FileCounts())


def read_text(session: Session, document: DocumentRow) -> str | None:
    """Give the canonical text of a document, if there is one yet."""
    return session.scalar(select(DocumentTextRow.text).where(DocumentTextRow.document_seq == document.seq))


def _counts(
    session: Session, group: InstrumentedAttribute[str] | InstrumentedAttribute[str | None], mine: ColumnElement[bool]
) -> dict[str | None, FileCounts]:
    rows = session.execute(
        select(group, DocumentRow.status, func.count(), func.sum(DocumentRow.usage_bytes))
        .where(mine)
        .group_by(group, DocumentRow.status)
    )
    states: dict[str | None, dict[str, int]] = {}
    for owner, status, count, usage_bytes in rows:
        found = states.setdefault(owner, {"usage_bytes": 0})
        found[FileStatus(status).value] = count
        # PostgreSQL's sum is of another type than what it adds up.
        found["usage_bytes"] += int(usage_bytes)
    return {owner: FileCounts(**found) for owner, found in states.items()}
