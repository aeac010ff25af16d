"""Batches of files added to a store at once."""

import time
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.ids import FILE_BATCH, new_id
from services.storage.tables import DocumentRow, FileBatchRow, FileStatus, VectorStoreRow


def add_batch(session: Session, store: VectorStoreRow) -> FileBatchRow:
    row = FileBatchRow(
        id=new_id(FILE_BATCH),
        project_id=store.project_id,
        store_id=store.id,
        cancelled=False,
        created_at=int(time.time()),
    )
    session.add(row)
    session.flush()
    return row


def find_batch(session: Session, store: VectorStoreRow, batch_id: str) -> FileBatchRow | None:
    return session.scalar(
        select(FileBatchRow).where(
            FileBatchRow.project_id == store.project_id,
            FileBatchRow.store_id == store.id,
            FileBatchRow.id == batch_id,
        )
    )


def unfinished_files(session: Session, batch: FileBatchRow) -> Sequence[DocumentRow]:
    """Give the documents of a batch that are still being worked on."""
    mine = select(DocumentRow).where(DocumentRow.batch_id == batch.id)
    return session.scalars(mine.where(DocumentRow.status == FileStatus.IN_PROGRESS)).all()
