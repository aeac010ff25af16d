"""Where a text may be cut, and how good each place is.

The finest parts are sentences, table rows, list items and code between blank lines, each with its
size in the embedder's word pieces; packing them into chunks is another matter (`rag.chunk`).
"""

import enum
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from rag.table import ROW_TYPES
from rag.types import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Cut(enum.IntEnum):
    """What begins at a place, from the worst place to cut before it to the best."""

    CHARACTER = 0
    WORD = 1
    LINE = 2
    SENTENCE = 3
    ITEM = 4
    BLOCK = 5
    HEADING = 6
    PAGE = 7


Place: TypeAlias = tuple[int, Cut]


@dataclass(frozen=True, slots=True)
class Part:
    """A span that is cut no further. `weight` is what it takes of a chunk: its word pieces or more."""

    start: int
    end: int
    tokens: int
    weight: int
    cut: Cut


_LINE = re.compile(r"[^\n\r]*(?:\r\n|\n|\r|\Z)")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_ROW = re.compile(r"[ \t]*\|")
_ITEM = re.compile(r"[ \t]*(?:[-*+•●▪◦‣–]|\(?(?:\d{1,3}|[A-Za-z])[.)])[ \t]+\S")
_UNDERLINE = re.compile(r"[ \t]*(?:=+|-+)[ \t]*(?:[\r\n]|\Z)")
# A sentence ends before a blank that no lower-case letter follows; in Chinese and Japanese anywhere.
_SENTENCE_END = re.compile(r"(?<=[.!?…؟।])[\"'”’»)\]]*\s+(?=[^\sa-z])|(?<=[。！？])[」』”）]*\s*(?=\S)")
# A paragraph this short is one part: finding its sentences would not change a chunk.
_SHORT_CHARS = 160
# Runs of symbols, base64 or blanks can be few word pieces and still fill a page.
_CHARS_PER_WEIGHT = 8
# At most 96 word pieces even where normalisation makes three of a character (Hangul).
_REJOINED = 2
_WORD = re.compile(r"\S{1,32}\s{0,32}|\s{1,256}")


def parts(document: Document, tokenizer: "Tokenizer", limit: int) -> list[Part]:
    """Cut the text into parts that weigh at most `limit`, in order and without gaps."""
    text = document.text
    lines = list(_lines(document))
    coarse = _weigh(text, list(_places(document, lines)), len(text), tokenizer)
    line_starts = [start for start, _, _ in lines]
    fine: list[Part] = []
    for part in coarse:
        fine.extend([part] if part.weight <= limit // 2 else _refine(text, part, line_starts, tokenizer, limit))
    return fine


def _refine(text: str, part: Part, line_starts: Sequence[int], tokenizer: "Tokenizer", limit: int) -> Iterator[Part]:
    """Cut a long part at its lines, and what is still too long at its words."""
    inner = line_starts[bisect_right(line_starts, part.start) : bisect_left(line_starts, part.end)]
    for line in _weigh(text, [(part.start, part.cut), *((start, Cut.LINE) for start in inner)], part.end, tokenizer):
        if line.weight <= limit:
            yield line
        else:
            yield from _weigh(text, list(_words(text, line)), line.end, tokenizer)


def _words(text: str, part: Part) -> Iterator[Place]:
    yield part.start, part.cut
    for match in _WORD.finditer(text, part.start, part.end):
        if match.start() > part.start:
            yield match.start(), Cut.WORD if text[match.start() - 1].isspace() else Cut.CHARACTER


def _weigh(text: str, places: Sequence[Place], end: int, tokenizer: "Tokenizer") -> list[Part]:
    """Make parts of the spans that begin at `places`, the last one ending at `end`."""
    bounds = [start for start, _ in places] + [end]
    spans = [text[start:stop] for start, stop in pairwise(bounds)]
    sizes = [len(encoding) for encoding in tokenizer.encode_batch_fast(spans, add_special_tokens=False)]
    return [
        Part(start, stop, tokens, _weight(tokens, stop - start, cut), cut)
        for (start, cut), stop, tokens in zip(places, bounds[1:], sizes, strict=True)
    ]


def _weight(tokens: int, chars: int, cut: Cut) -> int:
    # A word's pieces together can be a little more than those of its halves.
    return max(tokens + (_REJOINED if cut is Cut.CHARACTER else 0), chars // _CHARS_PER_WEIGHT)


def _places(document: Document, lines: Sequence[tuple[int, Cut, bool]]) -> Iterator[Place]:
    """Give the places to cut, in order, but for the single lines of a paragraph."""
    text = document.text
    pages = {page.start for page in document.pages}
    blocks = [line for line in lines if line[1] > Cut.LINE or line[0] in pages]
    for (start, cut, prose), (end, _, _) in pairwise([*blocks, (len(text), Cut.PAGE, False)]):
        yield start, Cut.PAGE if start in pages else cut
        if prose and end - start > _SHORT_CHARS:
            yield from (
                (match.end(), Cut.SENTENCE) for match in _SENTENCE_END.finditer(text, start, end) if match.end() < end
            )


def _lines(document: Document) -> Iterator[tuple[int, Cut, bool]]:
    """Give each line that has text: its start, what begins there, and whether it is prose."""
    heading_starts = {heading.start for heading in document.headings}
    rows = document.media_type in ROW_TYPES
    fence = ""
    blank = after_heading = introduced = False
    first = True
    for match in _LINE.finditer(document.text):
        start, line = match.start(), match[0]
        if not line.strip():
            blank = True
            continue
        opener = _FENCE.match(line)
        heading = start in heading_starts
        row = rows or bool(_ROW.match(line))
        if after_heading:
            cut = Cut.LINE  # a heading goes with what follows it
        elif heading:
            cut, introduced = Cut.HEADING, False
        elif fence:
            cut = Cut.SENTENCE if blank else Cut.LINE
        elif _ITEM.match(line) or (row and (rows or not blank)):
            cut = Cut.ITEM
        else:
            cut = Cut.BLOCK if blank or opener or first else Cut.LINE
        if introduced:
            cut = min(cut, Cut.SENTENCE)  # "as follows:" goes with what follows, if it can
        yield start, cut, not (fence or opener or row)
        if opener:
            fence = "" if fence and opener[1].startswith(fence) else fence or opener[1]
        introduced = line.rstrip().endswith((":", "：")) and not row
        after_heading = heading or (after_heading and bool(_UNDERLINE.match(line)))
        blank = first = False
