"""The rows of a vector index on disk: vectors that are only ever added, and a log of whose they are and who has gone.

    rows   float32 [n, dimensions], nothing between them
    log    records: a header, then the ids of the chunks whose rows are added, or that are removed

Rows are written first, then their record, so that a record that is whole tells of rows that are. Nothing is synced to
the disk: a record whose rows did not reach it has another checksum than they. What is written is never written again;
an epoch is one such pair of files, and when too much of it has gone the next one is made beside it.
"""

import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors

ADDED, REMOVED = b"A", b"R"
# Magic, kind, ids, rows before, checksum of the rows, checksum of what precedes it and of the ids.
HEADER = struct.Struct("<4scxxxIQII")
MAGIC = b"loam"
RECORD_ROWS = 1024
ROW_BYTES = 4


class LogDamaged(ValueError):
    """A part of the log, or of the rows that it tells of, is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One change: `ids` are the owners of the rows from `first` on, or the chunks that were removed."""

    added: bool
    ids: NDArray[np.int64]
    first: int
    checksum: int


class VectorLog:
    """One epoch's files, read and written at their end. One process writes at a time: its caller holds a lock."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        """Name the folder; nothing is read yet. `rows` counts those that have been read of or written."""
        self.folder = folder
        self.rows = 0
        self._dimensions = dimensions
        self._end = 0

    def read(self) -> Iterator[Record]:
        """Give the records since the last one read. Raises LogDamaged, FileNotFoundError.

        A record at the end that is not whole is being written, or its writer died: it is as if it were not there.
        """
        with (self.folder / "log").open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._end:
                raise LogDamaged(f"The log in {str(self.folder)!r} is shorter than it was.")
            file.seek(self._end)
            content = file.read()
        start = 0
        while (end := self._record_end(content, start)) <= len(content):
            record = self._parsed(content[start:end])
            self._advance(record, end - start)
            yield record
            start = end

    def vectors(self, *, first: int, count: int) -> Vectors:
        """Map so many rows from `first` on, `float32 [count, dimensions]`. Raises LogDamaged where there are fewer."""
        path = self.folder / "rows"
        begin = first * self._row_bytes
        if path.stat().st_size < begin + count * self._row_bytes:
            raise LogDamaged(f"The rows in {str(self.folder)!r} are fewer than their log says.")
        if not count:
            return np.empty((0, self._dimensions), dtype=np.float32)
        return np.memmap(path, np.dtype("<f4"), "r", begin, (count, self._dimensions))

    def check(self, record: Record) -> None:
        """Raise LogDamaged where the rows of a record are not those that were added."""
        if record.added and record.checksum != zlib.crc32(self.vectors(first=record.first, count=len(record.ids)).data):
            raise LogDamaged(f"Rows {record.first} and on in {str(self.folder)!r} are damaged.")

    def add(self, owners: NDArray[np.int64], vectors: Vectors) -> None:
        """Append rows, each with the chunk that it is of. On OSError nothing has been added."""
        content = np.ascontiguousarray(vectors, dtype="<f4")
        with (self.folder / "rows").open("r+b") as file:
            file.seek(self.rows * self._row_bytes)
            file.write(content.data)
        self._write(ADDED, owners, zlib.crc32(content.data))

    def remove(self, chunk_ids: NDArray[np.int64]) -> None:
        """Append that chunks have gone. On OSError nothing has been removed."""
        self._write(REMOVED, chunk_ids, 0)

    def _write(self, kind: bytes, ids: NDArray[np.int64], checksum: int) -> None:
        record = _packed(kind, ids, self.rows, checksum)
        with (self.folder / "log").open("r+b", buffering=0) as file:
            # Half a record of a writer that died gives way; nobody has read it.
            file.truncate(self._end)
            file.seek(self._end)
            if file.write(record) < len(record):
                raise OSError(f"The disk of {str(self.folder)!r} is full.")
        self._advance(Record(added=kind == ADDED, ids=ids, first=self.rows, checksum=checksum), len(record))

    def _record_end(self, content: bytes, start: int) -> int:
        """Give where the record at `start` ends; beyond `content` where it is not whole."""
        if start + HEADER.size > len(content):
            return len(content) + 1
        magic, _, count, *_ = HEADER.unpack_from(content, start)
        if magic != MAGIC:
            raise self._damaged()
        return int(start + HEADER.size + 8 * count)

    def _parsed(self, content: bytes) -> Record:
        _, kind, _, first, checksum, crc = HEADER.unpack_from(content)
        if first != self.rows or crc != zlib.crc32(content[: HEADER.size - 4] + content[HEADER.size :]):
            raise self._damaged()
        ids = np.frombuffer(content, dtype="<i8", offset=HEADER.size)
        return Record(added=kind == ADDED, ids=ids, first=first, checksum=checksum)

    def _damaged(self) -> LogDamaged:
        return LogDamaged(f"The log in {str(self.folder)!r} is damaged after {self._end} bytes.")

    def _advance(self, record: Record, size: int) -> None:
        self.rows += len(record.ids) if record.added else 0
        self._end += size

    @property
    def _row_bytes(self) -> int:
        return ROW_BYTES * self._dimensions


def newest_epoch(folder: Path) -> Path | None:
    """Give the folder of the epoch that counts; older ones are about to be removed."""
    # Not by glob: every search asks, and would spend more on it than on fusing its scores.
    try:
        with os.scandir(folder) as entries:
            newest = max((entry.name for entry in entries if entry.name.isdecimal()), default=None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if newest is None else folder / newest


def begin_epoch(
    folder: Path, number: int, owners: NDArray[np.int64], vectors: Vectors, kept: NDArray[np.int64]
) -> Path:
    """Make an epoch of the rows of the numbers `kept`, at once whole, and remove those before it. Give its folder.

    Another process may have been first; then that one's counts.
    """
    target = folder / f"{number:06}"
    with tempfile.TemporaryDirectory(dir=folder, prefix="partial-", ignore_cleanup_errors=True) as made:
        partial = Path(made) / "epoch"
        write_epoch(partial, owners, vectors, kept)
        return publish_epoch(partial, target)


def write_epoch(folder: Path, owners: NDArray[np.int64], vectors: Vectors, kept: NDArray[np.int64]) -> None:
    """Fill a new folder with the rows of the numbers `kept`."""
    folder.mkdir()
    (folder / "rows").touch()
    (folder / "log").touch()
    log = VectorLog(folder, vectors.shape[1])
    for start in range(0, len(kept), RECORD_ROWS):
        some = kept[start : start + RECORD_ROWS]
        log.add(owners[some], vectors[some])


def publish_epoch(partial: Path, target: Path) -> Path:
    """Give a whole epoch its place, where no other has taken it, and remove those before it."""
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    for older in target.parent.glob("[0-9]*"):
        if older.name < target.name:
            # Processes that have it mapped keep their rows until they look again.
            shutil.rmtree(older, ignore_errors=True)
    return target


def _packed(kind: bytes, ids: NDArray[np.int64], first: int, checksum: int) -> bytes:
    payload = np.ascontiguousarray(ids, dtype="<i8").tobytes()
    header = HEADER.pack(MAGIC, kind, len(ids), first, checksum, 0)[:-4]
    return header + zlib.crc32(header + payload).to_bytes(4, "little") + payload
