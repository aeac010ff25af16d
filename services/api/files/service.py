"""What holds for files."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from services.api.files.schemas import File, FileExpiry, file_object
from services.api.idempotency import Creating
from services.errors import BadRequest, NotFound, TooLarge
from services.storage.blobs import Blob, Blobs
from services.storage.database import Database
from services.storage.files import add_file, delete_file, find_file, incoming, let_go
from services.storage.tables import FileRow

PIECE_BYTES = 1024 * 1024
MAX_NAME_CHARACTERS = 255


def require_file(session: Session, project_id: str, file_id: str, *, param: str = "file_id") -> FileRow:
    """Give a file of the project. Raises NotFound."""
    row = find_file(session, project_id, file_id)
    if row is None:
        raise NotFound(f"No such File object: {file_id}", param=param)
    return row


def create_file(
    creating: Creating,
    blobs: Blobs,
    content: BinaryIO,
    *,
    filename: str,
    purpose: str,
    expiry: FileExpiry | None,
    max_bytes: int,
) -> File:
    """Keep an uploaded file."""
    name = clean_filename(filename)
    parts = partial(pieces, content, max_bytes)
    seconds = expiry.seconds if expiry else None
    with incoming(creating.database, blobs, parts) as blob:

        def make(session: Session) -> File:
            ensure_blob(blobs, blob, parts)
            row = add_file(
                session, creating.project_id, filename=name, purpose=purpose, blob=blob, expires_after_s=seconds
            )
            return file_object(row)

        return creating.once(File, [name, purpose, blob.sha256, seconds], make)


def remove_file(database: Database, blobs: Blobs, project_id: str, file_id: str) -> None:
    """Delete a file, from every store that it is in too. Raises NotFound."""
    with database.write() as session:
        row = require_file(session, project_id, file_id)
        delete_file(session, row)
    let_go(database, blobs, [row.sha256])


def content_path(database: Database, blobs: Blobs, project_id: str, file_id: str) -> tuple[str, Path]:
    """Give a file's name and where its bytes are. Raises NotFound."""
    with database.read() as session:
        row = require_file(session, project_id, file_id)
    if not blobs.exists(row.sha256):
        raise NotFound(f"The content of {file_id!r} is gone.", param="file_id")
    return row.filename, blobs.path(row.sha256)


def ensure_blob(blobs: Blobs, blob: Blob, parts: Callable[[], Iterable[bytes]]) -> None:
    """Keep the bytes again if an equal file's end took them away; to be called where they are being named."""
    if not blobs.exists(blob.sha256):
        blobs.put(parts())


def pieces(content: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """Read a file from its beginning, a piece at a time. Raises TooLarge."""
    content.seek(0)
    read = 0
    while piece := content.read(PIECE_BYTES):
        read += len(piece)
        if read > max_bytes:
            raise TooLarge(f"The file is over the limit of {max_bytes} bytes.", param="file")
        yield piece


def clean_filename(given: str) -> str:
    """Give the last part of a path as a plain name: it is shown and cited, never opened. Raises BadRequest."""
    last = re.split(r"[/\\]", given.strip())[-1]
    name = "".join(character for character in last if unicodedata.category(character) not in ("Cc", "Cs")).strip()
    if name in ("", ".", ".."):
        raise BadRequest("The file has no name. Give it one, e.g. 'report.pdf'.", param="file", code="invalid_filename")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadRequest(
            f"The file's name has {len(name)} characters, more than {MAX_NAME_CHARACTERS}.",
            param="file",
            code="invalid_filename",
        )
    return name
