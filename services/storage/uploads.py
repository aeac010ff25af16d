"""Files that arrive in parts. The parts are blobs until the upload is completed, cancelled or expired."""

import time
from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.ids import UPLOAD, UPLOAD_PART, new_id
from services.storage.blobs import Blob
from services.storage.tables import UploadPartRow, UploadRow

LIFETIME_S = 3600


class UploadStatus(StrEnum):
    """States of an upload; all but the first are ends. The last is reached by time alone."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


def add_upload(
    session: Session,
    project_id: str,
    *,
    filename: str,
    purpose: str,
    mime_type: str,
    size_bytes: int,
    file_expires_after_s: int | None,
) -> UploadRow:
    """Make a pending upload of a file that will have that many bytes."""
    now = int(time.time())
    row = UploadRow(
        id=new_id(UPLOAD),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        mime_type=mime_type,
        size_bytes=size_bytes,
        status=UploadStatus.PENDING,
        created_at=now,
        expires_at=now + LIFETIME_S,
        file_expires_after_s=file_expires_after_s,
    )
    session.add(row)
    session.flush()
    return row


def find_upload(session: Session, project_id: str, upload_id: str) -> UploadRow | None:
    return session.scalar(select(UploadRow).where(UploadRow.project_id == project_id, UploadRow.id == upload_id))


def status_of(upload: UploadRow) -> UploadStatus:
    """Give the state of an upload now."""
    status = UploadStatus(upload.status)
    if status is UploadStatus.PENDING and upload.expires_at <= time.time():
        return UploadStatus.EXPIRED
    return status


def add_part(session: Session, upload: UploadRow, blob: Blob) -> UploadPartRow:
    row = UploadPartRow(
        id=new_id(UPLOAD_PART),
        project_id=upload.project_id,
        upload_id=upload.id,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        created_at=int(time.time()),
    )
    session.add(row)
    session.flush()
    return row


def parts_of(session: Session, upload: UploadRow) -> dict[str, UploadPartRow]:
    """Give the parts of an upload by their ids."""
    mine = select(UploadPartRow).where(
        UploadPartRow.project_id == upload.project_id, UploadPartRow.upload_id == upload.id
    )
    return {part.id: part for part in session.scalars(mine)}


def remove_parts(session: Session, upload: UploadRow) -> Sequence[str]:
    """Forget the parts; give their blobs, for `let_go` once this is committed."""
    mine = delete(UploadPartRow).where(
        UploadPartRow.project_id == upload.project_id, UploadPartRow.upload_id == upload.id
    )
    return session.scalars(mine.returning(UploadPartRow.sha256)).all()


def expired_uploads(session: Session) -> Sequence[UploadRow]:
    """Give the pending uploads of all projects whose time is over."""
    pending = UploadRow.status == UploadStatus.PENDING
    return session.scalars(select(UploadRow).where(pending, UploadRow.expires_at <= int(time.time()))).all()
