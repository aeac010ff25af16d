"""Where sentences begin and end in a passage: prose, Markdown or plain text, with or without spaces between words.

What is found is what an answer may quote: a sentence of prose or of a list item, a table row, a
code block. Headings and rules alone say nothing and are left out. A sentence that ends in a colon
is one with the list, table or code that it introduces. This is not a Markdown parser: a wrong
guess costs a quote that is a little too long or too short, never one that is not in the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

LEAD_IN_CHARS = 500
"""A sentence ending in a colon is joined with what it introduces up to this length in all."""

RECORDS = 4
"""Fewer lines with as many commas each may be prose."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_SILENT = re.compile(r"\s*(?:#{1,6}\s.*|[-=*_|:+\s]*|<!--.*-->)$")
_ROW = re.compile(r"\s*\|.*\|\s*$")
_ITEM = re.compile(r"\s*(?:[-*+•‣]|\d{1,3}[.)])\s+(?=\S)")
_MARKER = re.compile(r"\s*(?:(?:>\s?)+|(?:[-*+•‣]|\d{1,3}[.)])\s+(?=\S))")

_END = re.compile(r"(?P<spaced>[.!?…]+)[\"'”’»)\]*_`]*(?=\s)|(?P<closed>[。！？｡][」』”’）】]*|[।؟۔](?=\s|$))")
_SAYS_SOMETHING = re.compile(r"\w")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘*_]+$")
_WORD_AFTER = re.compile(r"\s+[\"'“‘«(\[*_`]*(\w*)")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "sr",
        "jr",
        "vs",
        "cf",
        "fig",
        "figs",
        "eq",
        "vol",
        "pp",
        "ed",
        "eds",
        "al",
        "inc",
        "ltd",
        "co",
        "corp",
        "dept",
        "approx",
        "gen",
        "col",
        "capt",
        "lt",
        "sgt",
        "rev",
        "hon",
        "gov",
        "sen",
        "rep",
        "pres",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "ca",
        "etc",
        "viz",
        "mt",
        "bzw",
        "usw",
        "vgl",
        "nr",
        "sra",
    ]
)
_GERMAN_MONTHS = frozenset(
    [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ]
)
_STARTERS = frozenset(
    [
        "The",
        "A",
        "An",
        "In",
        "On",
        "At",
        "It",
        "Its",
        "This",
        "That",
        "These",
        "Those",
        "He",
        "She",
        "They",
        "We",
        "You",
        "I",
        "There",
        "When",
        "While",
        "However",
        "But",
        "And",
        "As",
        "For",
        "After",
        "Before",
        "During",
        "If",
        "His",
        "Her",
        "Their",
        "By",
        "From",
        "With",
        "Since",
        "Although",
        "Some",
        "Many",
        "Most",
    ]
)


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]`, without white space at its ends."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A paragraph, list item, table row or code block; `silent` is a line that says nothing alone."""

    kind: str
    span: Span


def sentences(text: str) -> list[Span]:
    """Give the quotable spans of `text`, in order and disjoint."""
    found: list[Span] = []
    for kind, group in groupby(_parts(text), key=lambda part: part.kind):
        spans = [part.span for part in group]
        introduced = kind in ("item", "row", "code") and found and text[found[-1].end - 1] in ":："
        if introduced and spans[-1].end - found[-1].start <= LEAD_IN_CHARS:
            found[-1] = Span(found[-1].start, spans[-1].end)
        elif kind in ("row", "code"):
            found += spans
        elif kind != "silent":
            found += [sentence for span in spans for sentence in _split(text, span)]
    return found


def _parts(text: str) -> Iterator[_Part]:
    position = 0
    for fenced in _FENCED.finditer(text):
        yield from _unfenced_parts(text, position, fenced.start())
        yield _Part("code", _trimmed(text, *fenced.span()))
        position = fenced.end()
    yield from _unfenced_parts(text, position, len(text))


def _unfenced_parts(text: str, start: int, end: int) -> Iterator[_Part]:
    current: _Part | None = None
    for line in _LINE.finditer(text, start, end):
        kind = _kind(line[0])
        if kind == "prose" and current and current.kind in ("prose", "item"):
            current = _Part(current.kind, Span(current.span.start, _trimmed(text, *line.span()).end))
            continue
        if current:
            yield current
        marker = _MARKER.match(line[0]) if kind in ("item", "prose") else None
        begin = line.start() + (marker.end() if marker else 0)
        current = None if kind == "blank" else _Part(kind, _trimmed(text, begin, line.end()))
    if current:
        yield current


def _kind(line: str) -> str:
    if not line.strip():
        return "blank"
    if _SILENT.match(line):
        return "silent"
    return "row" if _ROW.match(line) else "item" if _ITEM.match(line) else "prose"


def _split(text: str, part: Span) -> Iterator[Span]:
    lines = list(_LINE.finditer(text, part.start, part.end))
    if _are_records([line[0] for line in lines]):
        yield from (_trimmed(text, *line.span()) for line in lines)
        return
    start = part.start
    for end in _ends(text, part):
        if _SAYS_SOMETHING.search(text, start, end):
            yield _trimmed(text, start, end)
        start = end


def _are_records(lines: list[str]) -> bool:
    """Tell the rows of a CSV or TSV file from prose: several lines, each with as many delimiters."""
    if len(lines) < RECORDS:
        return False
    return any(len({line.count(one) for line in lines}) == 1 and one in lines[0] for one in ",;\t")


def _ends(text: str, part: Span) -> Iterator[int]:
    for mark in _END.finditer(text, part.start, part.end):
        if mark["closed"] or _ends_sentence(text, part, mark):
            yield mark.end()
    yield part.end


def _ends_sentence(text: str, part: Span, mark: re.Match[str]) -> bool:
    """Whether a full stop before a space ends its sentence or only an abbreviation or a number."""
    after = _WORD_AFTER.match(text, mark.end(), part.end)
    following = after[1] if after else ""
    if following[:1].islower():
        return False
    if mark["spaced"][0] != "." or following in _STARTERS:
        return True
    before = _WORD_BEFORE.search(text, max(part.start, mark.start() - 30), mark.start())
    word = before[0] if before else ""
    if word.isdecimal() and len(word) <= 2:
        return following not in _GERMAN_MONTHS
    number = word.lower() in ("no", "nos") and following[:1].isdecimal()
    return not (number or word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word))


def _trimmed(text: str, start: int, end: int) -> Span:
    inside = text[start:end]
    return Span(start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip()))
