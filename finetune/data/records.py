"""Training files cut into records: the lines of JSONL or the items of a JSON array.

Only where a record begins and ends is found here, in one pass and with one record in memory; what it
holds is read by `finetune.data.decode`. Blank lines hold nothing and are skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

from finetune.data.problems import Finding, Place
from finetune.errors import UnreadableFile

MAX_RECORD_BYTES = 32 * 1024**2
CHUNK_BYTES = 1024**2
SNIFFED_BYTES = 4096

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (or an office document)",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "Parquet",
}
# The longer marks first: UTF-32's begins with UTF-16's.
_ENCODINGS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_UTF8_MARK = b"\xef\xbb\xbf"
_STRUCTURE = re.compile(rb'[\[\]{}",]|\\.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Record:
    """The bytes of one record and where they lie in the file."""

    place: Place
    offset: int
    raw: bytes


Found: TypeAlias = Record | tuple[Finding, Place]


def open_file(path: Path) -> BufferedReader:
    """Open a training file. Raises UnreadableFile."""
    try:
        return path.open("rb")
    except OSError as exc:
        raise UnreadableFile(f"{path.name!r} cannot be read: {exc.strerror}.", hint="Check its name.") from exc


def records(file: BufferedReader) -> Iterator[Found]:
    """Give every record in order, and what is wrong with how the file is cut."""
    head = file.read(SNIFFED_BYTES)
    if refusal := _unreadable(head):
        yield refusal, Place(0)
        return
    start = 0
    if head.startswith(_UTF8_MARK):
        start = len(_UTF8_MARK)
        yield Finding("byte_order_mark", "", "begins with a byte order mark"), Place(1)
    file.seek(start)
    is_array = _first_byte(file) == b"["
    file.seek(start)
    yield from _items(file, start) if is_array else _lines(file, start)


def _unreadable(head: bytes) -> Finding | None:
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            return Finding("compressed", "", f"is not text but {name}")
    for mark, name in _ENCODINGS.items():
        if head.startswith(mark):
            return Finding("encoding", "", f"is encoded as {name}")
    # ASCII in UTF-16 has a NUL in every second byte.
    if b"\x00" in (head[:1], head[1:2]) and head[:SNIFFED_BYTES].count(0) >= len(head) // 3:
        return Finding("encoding", "", "looks like UTF-16 or UTF-32 without a byte order mark")
    return None


def _first_byte(file: BufferedReader) -> bytes:
    while chunk := file.read(SNIFFED_BYTES):
        if text := chunk.lstrip():
            return text[:1]
    return b""


def _lines(file: BufferedReader, offset: int) -> Iterator[Found]:
    line = 0
    while raw := file.readline(MAX_RECORD_BYTES):
        line += 1
        size = len(raw)
        if size == MAX_RECORD_BYTES and not raw.endswith(b"\n"):
            yield _too_large(), Place(line)
            size += _skip_line(file)
        elif stripped := raw.strip():
            yield Record(Place(line), offset + raw.index(stripped[:1]), stripped)
        offset += size


def _skip_line(file: BufferedReader) -> int:
    skipped = 0
    while raw := file.readline(MAX_RECORD_BYTES):
        skipped += len(raw)
        if raw.endswith(b"\n"):
            break
    return skipped


def _too_large() -> Finding:
    return Finding("row_too_large", "", f"is over {MAX_RECORD_BYTES // 1024**2} MiB")


def _items(file: BufferedReader, offset: int) -> Iterator[Found]:
    """Cut an array at its commas. Brackets are only counted: whether an item is JSON is told by its decoding."""
    cut = _ArrayCut(offset)
    for chunk in _chunks(file):
        yield from cut.feed(chunk)
        if len(cut.pending) > MAX_RECORD_BYTES:
            yield _too_large(), cut.place()
            yield Finding("unread", "", f"nothing after item {cut.index} was read"), Place(0)
            return
    yield from cut.finish()


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    """Give the bytes in pieces, a backslash always in one with what it escapes."""
    held = b""
    while read := file.read(CHUNK_BYTES):
        chunk = held + read
        backslashes = len(chunk) - len(chunk.rstrip(b"\\"))
        end = len(chunk) - backslashes % 2
        held = chunk[end:]
        yield chunk[:end]
    yield held


class _ArrayCut:
    """Where the reading of an array stands: the bytes of the item begun, its index, line and offset."""

    def __init__(self, offset: int) -> None:
        self.pending = b""
        self.index = 0
        self._line = 1
        self._offset = offset
        self._depth = 0
        self._in_string = False
        self._closed = False

    def feed(self, chunk: bytes) -> Iterator[Found]:
        begun = 0
        for match in _STRUCTURE.finditer(chunk):
            mark = match[0]
            if self._in_string:
                self._in_string = mark != b'"'
            elif mark == b'"':
                self._in_string = True
            elif mark in b"[{":
                self._depth += 1
                if self._depth == 1 and not self._closed:
                    self._advance(self.pending + chunk[begun : match.end()])
                    begun = match.end()
            elif (mark == b"," and self._depth == 1) or (mark in b"]}" and self._close()):
                yield from self._item(self.pending + chunk[begun : match.start()], last=mark != b",")
                self._advance(mark)
                begun = match.end()
        self.pending += chunk[begun:]

    def _close(self) -> bool:
        """Count a closing bracket; True where it is the array's own."""
        self._depth -= 1
        if self._depth == 0 and not self._closed:
            self._closed = True
            return True
        return False

    def _item(self, raw: bytes, *, last: bool) -> Iterator[Found]:
        self.pending = raw
        stripped = raw.strip()
        if stripped:
            lead = raw.index(stripped[:1])
            yield Record(self.place(), self._offset + lead, stripped)
        elif not last or self.index:
            yield Finding("json", "", "there is no item before this comma or bracket"), self.place()
        self._advance(raw)
        self.index += 1

    def _advance(self, passed: bytes) -> None:
        self._offset += len(passed)
        self._line += passed.count(b"\n")
        self.pending = b""

    def place(self) -> Place:
        lead = self.pending[: len(self.pending) - len(self.pending.lstrip())]
        return Place(self._line + lead.count(b"\n"), self.index)

    def finish(self) -> Iterator[Found]:
        if self._closed:
            if self.pending.strip():
                yield Finding("unread", "", "there is more after the end of the array"), self.place()
            return
        yield from self._item(self.pending, last=True)
        yield Finding("unread", "", "the array is never closed, so records may be missing"), Place(0)
