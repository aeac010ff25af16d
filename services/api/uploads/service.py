"""What holds for uploads: parts may come in any order and at once; completing puts them together."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO

from openai.types.uploads import UploadPart
from sqlalchemy.orm import Session

from services.api.files.service import PIECE_BYTES, clean_filename, ensure_blob, pieces
from services.api.idempotency import Creating
from services.api.uploads.schemas import CompleteUpload, CreateUpload, Upload, part_object, upload_object
from services.errors import BadRequest, NotFound, TooLarge
from services.storage.blobs import Blob, Blobs
from services.storage.database import Database
from services.storage.files import add_file, incoming, let_go
from services.storage.tables import UploadPartRow, UploadRow
from services.storage.uploads import (
    UploadStatus,
    add_part,
    add_upload,
    find_upload,
    parts_of,
    remove_parts,
    status_of,
)

MAX_PART_BYTES = 64 * 1024 * 1024


def create_upload(creating: Creating, wanted: CreateUpload, *, max_bytes: int) -> Upload:
    """Begin an upload. Raises TooLarge, so that nobody sends for an hour what will be refused."""
    if wanted.bytes > max_bytes:
        raise TooLarge(f"A file of {wanted.bytes} bytes is over the limit of {max_bytes}.", param="bytes")
    name = clean_filename(wanted.filename)

    def make(session: Session) -> Upload:
        row = add_upload(
            session,
            creating.project_id,
            filename=name,
            purpose=wanted.purpose,
            mime_type=wanted.mime_type,
            size_bytes=wanted.bytes,
            file_expires_after_s=wanted.expires_after.seconds if wanted.expires_after else None,
        )
        return upload_object(row)

    return creating.once(Upload, wanted.model_dump(), make)


def create_part(creating: Creating, blobs: Blobs, upload_id: str, data: BinaryIO) -> UploadPart:
    """Keep a part of a pending upload."""
    with creating.database.read() as session:
        require_pending(session, creating.project_id, upload_id)
    parts = partial(pieces, data, MAX_PART_BYTES)
    with incoming(creating.database, blobs, parts) as blob:

        def make(session: Session) -> UploadPart:
            upload = require_pending(session, creating.project_id, upload_id)
            ensure_blob(blobs, blob, parts)
            return part_object(add_part(session, upload, blob))

        return creating.once(UploadPart, blob.sha256, make)


def complete_upload(creating: Creating, blobs: Blobs, upload_id: str, wanted: CompleteUpload) -> Upload:
    """Make the file of an upload's parts. Raises BadRequest when they are not what was announced."""
    earlier = creating.earlier(Upload, wanted.model_dump())
    if earlier is not None:
        return earlier
    with creating.database.read() as session:
        upload = require_pending(session, creating.project_id, upload_id)
        ordered = _ordered(upload, parts_of(session, upload), wanted.part_ids)
    joined = partial(_joined, blobs, [part.sha256 for part in ordered])
    unused: list[str] = []
    with incoming(creating.database, blobs, joined) as blob:
        _check_md5(blobs, blob, wanted.md5)

        def make(session: Session) -> Upload:
            upload = require_pending(session, creating.project_id, upload_id)
            ensure_blob(blobs, blob, joined)
            file = add_file(
                session,
                creating.project_id,
                filename=upload.filename,
                purpose=upload.purpose,
                blob=blob,
                expires_after_s=upload.file_expires_after_s,
            )
            upload.status, upload.file_id = UploadStatus.COMPLETED, file.id
            unused.extend(remove_parts(session, upload))
            return upload_object(upload, file)

        completed = creating.once(Upload, wanted.model_dump(), make)
    let_go(creating.database, blobs, unused)
    return completed


def cancel_upload(database: Database, blobs: Blobs, project_id: str, upload_id: str) -> Upload:
    """Give up a pending upload; its parts go."""
    with database.write() as session:
        upload = require_pending(session, project_id, upload_id)
        upload.status = UploadStatus.CANCELLED
        unused = remove_parts(session, upload)
    let_go(database, blobs, unused)
    return upload_object(upload)


def require_pending(session: Session, project_id: str, upload_id: str) -> UploadRow:
    """Give an upload that can still be changed. Raises NotFound, BadRequest."""
    upload = find_upload(session, project_id, upload_id)
    if upload is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="upload_id")
    status = status_of(upload)
    if status is not UploadStatus.PENDING:
        raise BadRequest(f"The upload {upload_id!r} is {status} and takes nothing more.", code=f"upload_{status}")
    return upload


def _ordered(upload: UploadRow, parts: Mapping[str, UploadPartRow], part_ids: Sequence[str]) -> list[UploadPartRow]:
    unknown = [part_id for part_id in part_ids if part_id not in parts]
    if unknown:
        raise BadRequest(f"The upload {upload.id!r} has no part {unknown[0]!r}.", param="part_ids")
    if len(set(part_ids)) < len(part_ids):
        raise BadRequest("A part is named twice.", param="part_ids")
    ordered = [parts[part_id] for part_id in part_ids]
    size_bytes = sum(part.size_bytes for part in ordered)
    if size_bytes != upload.size_bytes:
        raise BadRequest(
            f"The parts have {size_bytes} bytes together, but {upload.size_bytes} were announced.", param="part_ids"
        )
    return ordered


def _joined(blobs: Blobs, sha256s: Sequence[str]) -> Iterator[bytes]:
    for sha256 in sha256s:
        with blobs.open(sha256) as part:
            yield from iter(partial(part.read, PIECE_BYTES), b"")


def _check_md5(blobs: Blobs, blob: Blob, expected: str | None) -> None:
    if expected is None:
        return
    with blobs.path(blob.sha256).open("rb") as content:
        md5 = hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    if md5 != expected.strip().lower():
        raise BadRequest(f"The md5 of the parts together is {md5}, not {expected!r}.", param="md5")
