"""Tables in a text, and the names of their columns: what a row far below them is read by.

Tables are those of Markdown, with a row of dashes, as kreuzberg writes those of spreadsheets too; and a whole CSV or
TSV file. Names are told from the text alone, so that what was embedded can be verified against it.
"""

import csv
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_COLUMNS_CHARS = 500
"""Of the names of a wide table so much is kept."""

TITLE_ROWS = 2
"""So many rows may stand above the names: a sheet's title and the like, in one cell or a few."""

_DELIMITERS = {"text/csv": ",;", "text/tab-separated-values": "\t"}
"""By media type: what may stand between the cells of a line."""

ROW_TYPES = frozenset(_DELIMITERS)

_LINE = re.compile(r"[^\n\r]+")
_ROW = re.compile(r"[ \t]*\|")
_DASHES = re.compile(r"^[ \t]*\|[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*\r?$", re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_BAR = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"[-+(]?[$€£]?\d[\d.,' ]*%?\)?")
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table at `text[start:end]` whose rows begin at `body`, below the names of its columns.

    `columns` are these names with bars between them, empty where it has none.
    """

    start: int
    body: int
    end: int
    columns: str


def tables(text: str, media_type: str) -> list[Table]:
    """Give the tables of a document, in order."""
    delimiters = _DELIMITERS.get(media_type)
    return list(_of_file(text, delimiters) if delimiters else _of_markdown(text))


def table_at(found: Sequence[Table], offset: int) -> Table | None:
    """Give the table that goes on at an offset: of which a row begins there, or what is left of one."""
    place = bisect_right(found, offset, key=lambda table: table.body)
    return found[place - 1] if place and offset < found[place - 1].end else None


def columns_at(found: Sequence[Table], offset: int) -> str:
    """Give the columns of the table that goes on at an offset, empty where none does."""
    table = table_at(found, offset)
    return table.columns if table else ""


def with_columns(columns: str, text: str) -> str:
    """Give what is embedded of a text under the names of its columns."""
    return f"{columns}\n{text}" if columns else text


def _of_markdown(text: str) -> Iterator[Table]:
    if not _DASHES.search(text):
        return
    lines: list[re.Match[str]] = []
    end, fence = -1, ""
    for line in _LINE.finditer(text):
        opener = _FENCE.match(line[0])
        if opener:
            fence = "" if fence and opener[1].startswith(fence) else fence or opener[1]
        row = not fence and _ROW.match(line[0])
        # A blank line ends a table.
        if lines and not (row and text.count("\n", end, line.start()) <= 1):
            yield from _table(text, lines)
            lines = []
        if row:
            lines.append(line)
            end = line.end()
    if lines:
        yield from _table(text, lines)


def _table(text: str, lines: Sequence[re.Match[str]]) -> Iterator[Table]:
    """Give the table of these rows, if a row of dashes is its second."""
    if len(lines) < 3 or not _DASHES.fullmatch(lines[1][0]):
        return
    cells = [_cells(line[0]) for line in (lines[0], *lines[2:])]
    named = _named(cells, numbers=True)
    # The names of the first row are above the dashes, those of another below them.
    body = lines[2 if not named else named + 2]
    columns = _columns(cells[named or 0])
    yield Table(start=lines[0].start(), body=body.start(), end=lines[-1].end(), columns=columns)


def _of_file(text: str, delimiters: str) -> Iterator[Table]:
    lines = [line for line in _LINE.finditer(text) if line[0].strip()]
    if len(lines) < 2:
        return
    head = [line[0] for line in lines[: TITLE_ROWS + 2]]
    delimiter = max(delimiters, key=lambda one: sum(line.count(one) for line in head))
    cells = [[cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])] for line in head]
    named = _named(cells, numbers=False)
    if named is None or named + 1 == len(lines):
        return
    yield Table(
        start=lines[0].start(), body=lines[named + 1].start(), end=lines[-1].end(), columns=_columns(cells[named])
    )


def _named(rows: Sequence[Sequence[str]], *, numbers: bool) -> int | None:
    """Give which of the first rows but the last names the columns: the first of which most cells hold something.

    Unless `numbers` may be names, one that holds numbers other than years is none.
    """
    for place, cells in enumerate(rows[: min(TITLE_ROWS + 1, len(rows) - 1)]):
        filled = [cell for cell in cells if cell]
        if len(filled) < 2 or 2 * len(filled) < len(cells):
            continue
        if (numbers and not place) or not any(_is_number(cell) for cell in filled):
            return place
    return None


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell)) and not _YEAR.fullmatch(cell)


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    return [cell.strip() for cell in _BAR.split(inner.removesuffix("|"))]


def _columns(cells: Sequence[str]) -> str:
    return " | ".join(" ".join(cell.split()) for cell in cells)[:MAX_COLUMNS_CHARS].strip(" |")
