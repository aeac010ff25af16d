"""File bytes on disk, each content once under its sha256. What stands under a name is whole and on the disk."""

import hashlib
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from services.storage.database import Database
from services.storage.tables import FileRow, UploadPartRow
from services.storage.tuning_tables import ENDED_TUNINGS, TuningRow

PARTIAL = "partial"
# Well below what SQLite takes as parameters of one statement.
NAMES_PAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    sha256: str
    size_bytes: int


class Blobs:
    """A folder of blobs. Write a blob first, then the row that names it; remove it the other way round."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes | Iterable[bytes]) -> Blob:
        """Keep the bytes, given whole or in parts; done when they are safely on the disk."""
        parts = (content,) if isinstance(content, bytes) else content
        partial = self._folder / PARTIAL / secrets.token_hex(8)
        partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            blob = _write(partial, parts)
            target = self.path(blob.sha256)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            partial.replace(target)
            _sync_folder(target.parent)
        finally:
            partial.unlink(missing_ok=True)
        return blob

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises FileNotFoundError."""
        return self.path(sha256).open("rb")

    def read(self, sha256: str) -> bytes:
        """Give a blob's bytes. Raises FileNotFoundError."""
        return self.path(sha256).read_bytes()

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def delete(self, sha256: str) -> None:
        """Remove a blob, if it is there. See `discard_unused` for doing it safely."""
        self.path(sha256).unlink(missing_ok=True)

    def all(self, *, before: float = math.inf) -> Iterator[str]:
        """Give the names of all blobs that were last put before a time."""
        return (path.name for path in self._folder.glob("??/*") if path.stat().st_mtime < before)

    def discard_partial(self, *, before: float) -> None:
        """Remove what uploads that broke off before a time have left."""
        for path in (self._folder / PARTIAL).glob("*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


def discard_unused(database: Database, blobs: Blobs, sha256s: Iterable[str]) -> None:
    """Remove those of the blobs that no file, no upload part and no fine-tuning job that goes on names.

    Call it once the transaction that let go of them is committed. It holds the write lock, so that
    whoever names a blob in a transaction finds, by asking `exists` there, either it or its absence.
    """
    remaining = iter(sha256s)
    while some := set(islice(remaining, NAMES_PAGE)):
        with database.write() as session:
            for sha256 in some - _named(session, some):
                blobs.delete(sha256)


def _named(session: Session, sha256s: set[str]) -> set[str]:
    files = select(FileRow.sha256).where(FileRow.sha256.in_(sha256s))
    parts = select(UploadPartRow.sha256).where(UploadPartRow.sha256.in_(sha256s))
    tuned_on = [
        select(column).where(column.in_(sha256s), TuningRow.status.not_in(ENDED_TUNINGS))
        for column in (TuningRow.training_sha256, TuningRow.validation_sha256)
    ]
    return set(session.scalars(union(files, parts, *tuned_on)))


def _write(path: Path, parts: Iterable[bytes]) -> Blob:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
            size_bytes += len(part)
        file.flush()
        os.fsync(file.fileno())
    return Blob(sha256=digest.hexdigest(), size_bytes=size_bytes)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
