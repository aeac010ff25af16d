"""A training file read: its examples, or every problem in it.

    dataset = read(path)          # raises InvalidDataset, whose `problems` holds each of them
    dataset.examples[17]          # an Example, read from the file when it is asked for

The file is passed over once, record by record, and only the place of each example is kept (32 bytes
a record at most), so a file may be larger than memory. The file must not change while it is used.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from finetune.data.decode import Undecodable, decode, keys_of
from finetune.data.formats.row import Row
from finetune.data.formats.table import MEDIA_KEYS, Format, told_by
from finetune.data.problems import Finding, Place, Problems
from finetune.data.records import Record, open_file, records
from finetune.errors import InvalidDataset
from finetune.types import Example, sequences


class Examples(Sequence[Example]):
    """The readable examples of a file in the file's order; each is read anew when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets, self._sizes = array("Q"), array("Q")
        self._lines, self._items = array("Q"), array("Q")
        self._format: Format | None = None

    def note(self, record: Record, told: Format) -> None:
        """Note where the next example lies and what reads it."""
        self._offsets.append(record.offset)
        self._sizes.append(len(record.raw))
        self._lines.append(record.place.line)
        if record.place.item is not None:
            self._items.append(record.place.item)
        self._format = told

    def place(self, index: int) -> Place:
        """Give where an example begins."""
        return Place(self._lines[index], self._items[index] if self._items else None)

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        assert self._format is not None  # noted with the first example
        with open_file(self.path) as file:
            file.seek(self._offsets[index])
            return self._format.read(Row(decode(file.read(self._sizes[index]))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A file without errors. `sha256` identifies its bytes; `problems` holds warnings."""

    format: Format
    examples: Examples
    sha256: str
    problems: Problems


def read(path: Path) -> Dataset:
    """Read a training file. Raises InvalidDataset with every problem, UnreadableFile."""
    reading = Reading(path)
    for _ in reading:
        pass
    return reading.dataset()


def format_of(path: Path) -> Format | None:
    """Tell the format of a file by its first record alone, if that says it. Raises UnreadableFile."""
    with open_file(path) as file:
        first = next(records(file), None)
    try:
        return told_by(frozenset(decode(first.raw))) if isinstance(first, Record) else None
    except Undecodable:
        return None


class Reading:
    """One pass over a file. Iterating gives each example without errors; `problems` and `examples` fill as it goes."""

    def __init__(self, path: Path) -> None:
        self.problems = Problems()
        self.examples = Examples(path)
        self.format: Format | None = None
        self.records = 0
        self._path = path
        self._first = Place(1)

    def __iter__(self) -> Iterator[tuple[Place, Example]]:
        with open_file(self._path) as file:
            for found in records(file):
                if isinstance(found, tuple):
                    self.problems.add(*found)
                    continue
                self.records += 1
                example = self._example(found.raw, found.place)
                if example is not None and self.format is not None:
                    self.examples.note(found, self.format)
                    yield found.place, example
        if not self.records and not self.problems.errors:
            self.problems.add(Finding("empty_file", "", "holds no records"))

    def dataset(self) -> Dataset:
        """Give the dataset, once the pass is over. Raises InvalidDataset."""
        if self.problems.errors or self.format is None:
            raise InvalidDataset(self._path.name, self.problems)
        with open_file(self._path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Dataset(format=self.format, examples=self.examples, sha256=sha256, problems=self.problems)

    def _example(self, raw: bytes, place: Place) -> Example | None:
        """Read one record, and note all that is wrong with it."""
        try:
            row = Row(decode(raw))
        except Undecodable as exc:
            self.problems.add(exc.finding, place)
            return None
        told = self._told(row, place)
        example = None
        if told is not None:
            row.only(told.keys | MEDIA_KEYS)
            for key in MEDIA_KEYS & row.value.keys():
                if row.value[key]:
                    row.note("media", key, "names media, and only text is trained")
            example = told.read(row)
            _note_unknown_tools(row, example)
        for finding in row.findings:
            self.problems.add(finding, place)
        return None if row.failed() else example

    def _told(self, row: Row, place: Place) -> Format | None:
        """Tell the record's format, which must be that of the file's first record."""
        keys = frozenset(row.value)
        told = told_by(keys)
        if self.format is None:
            self.format, self._first = told, place
            if told is None:
                _note_unknown(row)
            return told
        if told is self.format or (keys & self.format.keys and keys <= self.format.keys):
            return self.format
        if told is None:
            wanted = " or ".join(repr(key) for key in sorted(self.format.marks[0]))
            reason = f"has no {wanted}, which {self.format.name} needs; its keys are {keys_of(row.value)}"
            row.note("unknown_format", "", reason)
        else:
            began = f"the file begins as {self.format.name} in {self._first}"
            row.note("mixed_formats", "", f"reads as {told.name}, but {began}")
        return None


def _note_unknown_tools(row: Row, example: Example) -> None:
    known = {tool["function"]["name"] for tool in example.tools}
    called = {call.name for turns in sequences(example) for turn in turns for call in turn.tool_calls}
    for name in sorted(called - known):
        row.note("unknown_tool", "tools", f"does not describe {name[:40]!r}, which is called")


def _note_unknown(row: Row) -> None:
    if list(row.value) == ["text"]:
        row.note("raw_text", "", "holds only a text and no answer to learn")
    else:
        row.note("unknown_format", "", f"is of no known format; its keys are {keys_of(row.value)}")
