"""Uploaded files. Those that have expired are as good as gone: nothing here gives them but `expired_files`."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from services.ids import FILE, new_id
from services.storage.blobs import Blob, Blobs, discard_unused
from services.storage.database import Database
from services.storage.documents import delete_document
from services.storage.paging import Page, PageRequest, read_page
from services.storage.tables import DocumentRow, FileRow

log = logging.getLogger(__name__)


@contextmanager
def incoming(database: Database, blobs: Blobs, parts: Callable[[], Iterable[bytes]]) -> Iterator[Blob]:
    """Keep bytes on the disk while a transaction decides on them; if nothing names them then, they go."""
    blob = blobs.put(parts())
    try:
        yield blob
    finally:
        let_go(database, blobs, [blob.sha256])


def let_go(database: Database, blobs: Blobs, sha256s: Iterable[str]) -> None:
    """Remove blobs that nothing names any more, once that is committed.

    It never fails what has been done by then: what cannot be removed now, `services.tidy` removes.
    """
    try:
        # A path that was refused by its size has a file without bytes.
        discard_unused(database, blobs, filter(None, sha256s))
    except Exception:
        log.exception("blobs_left")


def add_file(
    session: Session,
    project_id: str,
    *,
    filename: str,
    purpose: str,
    blob: Blob,
    expires_after_s: int | None = None,
) -> FileRow:
    """Make the file of a blob."""
    (row,) = add_files(session, project_id, [(filename, blob)], purpose=purpose, expires_after_s=expires_after_s)
    return row


def add_files(
    session: Session,
    project_id: str,
    named: Iterable[tuple[str, Blob]],
    *,
    purpose: str,
    expires_after_s: int | None = None,
) -> list[FileRow]:
    """Make files of blobs by their names."""
    now = int(time.time())
    rows = [
        FileRow(
            id=new_id(FILE),
            project_id=project_id,
            filename=filename,
            purpose=purpose,
            size_bytes=blob.size_bytes,
            sha256=blob.sha256,
            created_at=now,
            expires_at=None if expires_after_s is None else now + expires_after_s,
        )
        for filename, blob in named
    ]
    session.add_all(rows)
    session.flush()
    return rows


def find_file(session: Session, project_id: str, file_id: str) -> FileRow | None:
    return session.scalar(select(FileRow).where(FileRow.project_id == project_id, FileRow.id == file_id, _live()))


def find_files(session: Session, project_id: str, file_ids: Collection[str]) -> dict[str, FileRow]:
    """Give those of the files that there are, by their ids."""
    mine = select(FileRow).where(FileRow.project_id == project_id, FileRow.id.in_(file_ids), _live())
    return {row.id: row for row in session.scalars(mine)}


def list_files(session: Session, project_id: str, request: PageRequest, *, purpose: str | None = None) -> Page[FileRow]:
    mine = FileRow.project_id == project_id
    rows = select(FileRow).where(mine, _live())
    if purpose is not None:
        rows = rows.where(FileRow.purpose == purpose)
    cursors = select(FileRow.seq).where(mine)
    return read_page(session, rows, request, seq=FileRow.seq, cursors=cursors, cursor_id=FileRow.id)


def all_files(session: Session, project_id: str) -> Sequence[FileRow]:
    """Give the files of a project, oldest first."""
    return session.scalars(select(FileRow).where(FileRow.project_id == project_id, _live()).order_by(FileRow.seq)).all()


def delete_file(session: Session, file: FileRow) -> None:
    """Remove a file and its document in every store. Its blob is for `let_go`, once this is committed."""
    for document in session.scalars(select(DocumentRow).where(DocumentRow.file_id == file.id)):
        delete_document(session, document)
    session.delete(file)


def expired_files(session: Session) -> Sequence[FileRow]:
    """Give the files of all projects whose time is over."""
    return session.scalars(select(FileRow).where(FileRow.expires_at <= int(time.time()))).all()


def _live() -> ColumnElement[bool]:
    return or_(FileRow.expires_at.is_(None), FileRow.expires_at > int(time.time()))
