"""From a Document to chunks: passages that are found, embedded and cited as one.

Cuts are chosen together, as the cheapest way to pack a page's parts: every cut costs by what it
breaks, every small chunk by what it lacks. The cheapest packing depends on its surroundings only,
so that an edit changes the chunks near it and the vectors of the others are used again. A chunk
never spans two pages: it is cited with one. Its blanks at both ends are left out.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rag.errors import InvalidChunking
from rag.segment import Cut, Part, parts
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
    limit = strategy.max_tokens - strategy.overlap_tokens
    if sum(part.weight for part in pieces) <= strategy.whole_tokens:
        limit = max(limit, strategy.whole_tokens)
    outline = _Outline(document)
    chunks: list[Chunk] = []
    for page in _by_page(pieces):
        for first, last in _pack(page, limit):
            room = strategy.max_tokens - sum(part.weight for part in page[first:last])
            first = _reach_back(page, first, min(strategy.overlap_tokens, room))
            span = _trim(document.text, page[first].start, page[last - 1].end)
            if span is not None:
                windows = _windows(document.text, page[first:last], max_window_tokens)
                chunks.append(outline.chunk(len(chunks), span, sum(p.tokens for p in page[first:last]), windows))
    return chunks


def _by_page(pieces: Sequence[Part]) -> Iterator[Sequence[Part]]:
    start = 0
    for index, part in enumerate(pieces):
        if part.cut is Cut.PAGE and index > start:
            yield pieces[start:index]
            start = index
    yield pieces[start:]


def _pack(pieces: Sequence[Part], limit: int) -> list[Span]:
    """Give the cheapest way to pack the parts into runs of at most `limit`, as index ranges."""
    full = _FULL_SHARE * limit
    best = [0.0] + [float("inf")] * len(pieces)
    came_from = [0] * (len(pieces) + 1)
    for first in range(len(pieces)):
        before = best[first] + _CHUNK_COST + (_CUT_COST[pieces[first].cut] if first else 0.0)
        weight = 0
        for last in range(first, len(pieces)):
            weight += pieces[last].weight
            if weight > limit and last > first:
                break
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


def _windows(text: str, pieces: Sequence[Part], limit: int) -> tuple[Window, ...]:
    spans = (_trim(text, pieces[first].start, pieces[last - 1].end) for first, last in _pack(pieces, limit))
    return tuple(Window(start=span[0], end=span[1]) for span in spans if span)


def _trim(text: str, start: int, end: int) -> Span | None:
    """Leave out the blanks at both ends; None when nothing is left."""
    inner = text[start:end]
    left = len(inner) - len(inner.lstrip())
    right = len(inner.rstrip())
    return (start + left, start + right) if right else None


class _Outline:
    """Where in a document a span stands: on which page, under which headings."""

    def __init__(self, document: Document) -> None:
        self._document = document
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
        return self._paths[index]


def _paths(document: Document) -> list[tuple[str, ...]]:
    """Give the path in force before the first heading and after each."""
    stack: list[tuple[int, str]] = []
    paths: list[tuple[str, ...]] = [()]
    for heading in document.headings:
        stack = [(level, title) for level, title in stack if level < heading.level]
        stack.append((heading.level, heading.title))
        paths.append(tuple(title for _, title in stack))
    return paths
