"""From a Document to chunks: passages that are found, embedded and cited as one.

Cuts are chosen together, as the cheapest way to pack a page's parts: every cut costs by what it
breaks, every small chunk by what it lacks. The cheapest packing depends on its surroundings only,
so that an edit changes the chunks near it and the vectors of the others are used again. A chunk
never spans two pages: it is cited with one. Its blanks at both ends are left out.

A table that fits a chunk is never cut. One that does not is cut between rows, and each later piece carries the names of
its columns: as the last of its headings, and before what is embedded of it. They are no part of its text.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rag.errors import InvalidChunking
from rag.segment import Cut, Part, parts
from rag.table import Table, columns_at, table_at, tables
from rag.types import Chunk, Document, Window

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_CHUNK_TOKENS = 100
MAX_CHUNK_TOKENS = 4096

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkingStrategy:
    """How large chunks may be, in word pieces of the embedder. Raises InvalidChunking outside the limits.

    A document of at most `whole_tokens` is held to that limit instead: a short text is one passage.
    """

    max_tokens: int = 800
    overlap_tokens: int = 0
    whole_tokens: int = 0

    def __post_init__(self) -> None:
        if not MIN_CHUNK_TOKENS <= self.max_tokens <= MAX_CHUNK_TOKENS:
            raise InvalidChunking(
                f"A chunk of at most {self.max_tokens} tokens is outside the limits.",
                hint=f"Choose {MIN_CHUNK_TOKENS} to {MAX_CHUNK_TOKENS}.",
            )
        if not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise InvalidChunking(
                f"An overlap of {self.overlap_tokens} tokens is outside the limits.",
                hint=f"Choose 0 to {self.max_tokens // 2}, half of the chunk's maximum.",
            )


# Of 128, 192, 254 and 400, on two collections: best, or within half a point of it, at having the
# answer in the first 600 tokens found. Larger chunks fill those with less; smaller ones make more vectors.
# A short document cut in pieces is found less well than whole (rag/README.md, Chunks).
AUTO = ChunkingStrategy(max_tokens=192, whole_tokens=800)

# What a cut costs by what it breaks; before a heading it pays.
_CUT_COST = {
    Cut.CHARACTER: 12.0,
    Cut.WORD: 6.0,
    Cut.LINE: 3.0,
    Cut.SENTENCE: 1.5,
    Cut.ITEM: 1.0,
    Cut.BLOCK: 0.5,
    Cut.HEADING: -0.5,
    Cut.PAGE: 0.0,
}
_CHUNK_COST = 0.3
_SMALL_COST = 3.0
# A chunk that is this full costs nothing for its size.
_FULL_SHARE = 0.4


def chunk(
    document: Document,
    tokenizer: "Tokenizer",
    strategy: ChunkingStrategy = AUTO,
    *,
    max_window_tokens: int = 254,
) -> list[Chunk]:
    """Cut a document into chunks, in order; all its text but blanks is in one of them, or two where they overlap.

    `tokenizer` must neither truncate nor pad.
    """
    pieces = parts(document, tokenizer, min(strategy.max_tokens - strategy.overlap_tokens, max_window_tokens))
    found = _Tables(document, tokenizer)
    limit = strategy.max_tokens - strategy.overlap_tokens
    if sum(part.weight for part in pieces) <= strategy.whole_tokens:
        limit = max(limit, strategy.whole_tokens)
    outline = _Outline(document, found)
    chunks: list[Chunk] = []
    for page in _by_page(pieces):
        for first, last in _pack(page, limit, found.held(page, limit)):
            room = strategy.max_tokens - sum(part.weight for part in page[first:last])
            first = _reach_back(page, first, min(strategy.overlap_tokens, room))
            span = _trim(document.text, page[first].start, page[last - 1].end)
            if span is not None:
                windows = _windows(document.text, page[first:last], max_window_tokens, found)
                chunks.append(outline.chunk(len(chunks), span, sum(p.tokens for p in page[first:last]), windows))
    return chunks


def _by_page(pieces: Sequence[Part]) -> Iterator[Sequence[Part]]:
    start = 0
    for index, part in enumerate(pieces):
        if part.cut is Cut.PAGE and index > start:
            yield pieces[start:index]
            start = index
    yield pieces[start:]


def _pack(
    pieces: Sequence[Part], limit: int, held: Collection[int] = (), ahead: Sequence[int] | None = None
) -> list[Span]:
    """Give the cheapest way to pack the parts into runs of at most `limit`, as index ranges.

    No run begins at a part that is `held`. One that begins at a part has `ahead` of it beside its own weight.
    """
    full = _FULL_SHARE * limit
    best = [0.0] + [float("inf")] * len(pieces)
    came_from = [0] * (len(pieces) + 1)
    for first in range(len(pieces)):
        if first in held:
            continue
        before = best[first] + _CHUNK_COST + (_CUT_COST[pieces[first].cut] if first else 0.0)
        weight = ahead[first] if ahead else 0
        for last in range(first, len(pieces)):
            weight += pieces[last].weight
            if weight > limit and last > first:
                break
            if last + 1 in held:
                continue
            cost = before + _SMALL_COST * max(0.0, 1 - weight / full)
            if cost < best[last + 1]:
                best[last + 1], came_from[last + 1] = cost, first
    spans = []
    end = len(pieces)
    while end:
        spans.append((came_from[end], end))
        end = came_from[end]
    return spans[::-1]


def _reach_back(pieces: Sequence[Part], first: int, overlap: int) -> int:
    """Give where the chunk begins when it repeats at most `overlap` of what stands before it."""
    while first and (overlap := overlap - pieces[first - 1].weight) >= 0:
        first -= 1
    return first


def _windows(text: str, pieces: Sequence[Part], limit: int, found: "_Tables") -> tuple[Window, ...]:
    """Cut a chunk into what is embedded at once; of a table that it goes on with, under the names of the columns."""
    ahead = found.ahead(pieces, limit // 2)
    windows = []
    for first, last in _pack(pieces, limit, found.held(pieces, limit), ahead):
        if span := _trim(text, pieces[first].start, pieces[last - 1].end):
            # A single row may leave no room for them.
            named = ahead[first] and ahead[first] + sum(part.weight for part in pieces[first:last]) <= limit
            columns = columns_at(found.tables, span[0]) if named else ""
            windows.append(Window(start=span[0], end=span[1], columns=columns))
    return tuple(windows)


def _trim(text: str, start: int, end: int) -> Span | None:
    """Leave out the blanks at both ends; None when nothing is left."""
    inner = text[start:end]
    left = len(inner) - len(inner.lstrip())
    right = len(inner.rstrip())
    return (start + left, start + right) if right else None


class _Tables:
    """The tables of a document, and what each takes of a chunk."""

    def __init__(self, document: Document, tokenizer: "Tokenizer") -> None:
        self.tables: Sequence[Table] = tables(document.text, document.media_type)
        names = list(dict.fromkeys(table.columns for table in self.tables if table.columns))
        sizes = tokenizer.encode_batch_fast(names, add_special_tokens=False)
        # One for the line's end, which is a token to some.
        self._weights = {columns: len(size) + 1 for columns, size in zip(names, sizes, strict=True)}

    def ahead(self, pieces: Sequence[Part], most: int) -> list[int]:
        """Give what the names of columns take before each part of a chunk: 0 where it needs none.

        Only rows of a table that began before the chunk need them; none have them where they take more than `most`.
        """
        table = table_at(self.tables, pieces[0].start)
        weight = self._weights.get(table.columns, 0) if table else 0
        return [weight if table and part.start < table.end and weight <= most else 0 for part in pieces]

    def held(self, pieces: Sequence[Part], limit: int) -> set[int]:
        """Give the parts that stay with the one before them: all of a table that fits, else its head and first row."""
        held: set[int] = set()
        for table in self.tables:
            first = bisect_right(pieces, table.start, key=lambda part: part.end)
            last = bisect_left(pieces, table.end, key=lambda part: part.start)
            if sum(part.weight for part in pieces[first:last]) > limit:
                last = min(last, bisect_right(pieces, table.body, key=lambda part: part.start))
            if sum(part.weight for part in pieces[first:last]) <= limit:
                held.update(range(first + 1, last))
        return held


class _Outline:
    """Where in a document a span stands: on which page, under which headings, in which table."""

    def __init__(self, document: Document, found: _Tables) -> None:
        self._document = document
        self._tables = found.tables
        self._page_starts = [page.start for page in document.pages]
        self._heading_starts = [heading.start for heading in document.headings]
        self._paths = _paths(document)

    def chunk(self, ordinal: int, span: Span, tokens: int, windows: tuple[Window, ...]) -> Chunk:
        start, end = span
        return Chunk(
            ordinal=ordinal,
            text=self._document.text[start:end],
            start=start,
            end=end,
            tokens=tokens,
            page=self._page(start),
            heading_path=self._heading_path(start),
            windows=windows,
        )

    def _page(self, start: int) -> int | None:
        index = bisect_right(self._page_starts, start)
        return self._document.pages[index - 1].number if index else None

    def _heading_path(self, start: int) -> tuple[str, ...]:
        index = bisect_right(self._heading_starts, start)
        columns = columns_at(self._tables, start)
        return (*self._paths[index], columns) if columns else self._paths[index]


def _paths(document: Document) -> list[tuple[str, ...]]:
    """Give the path in force before the first heading and after each."""
    stack: list[tuple[int, str]] = []
    paths: list[tuple[str, ...]] = [()]
    for heading in document.headings:
        stack = [(level, title) for level, title in stack if level < heading.level]
        stack.append((heading.level, heading.title))
        paths.append(tuple(title for _, title in stack))
    return paths
