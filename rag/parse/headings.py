"""The headings of a Markdown text, as CommonMark sees them: none inside fences, underlined ones too."""

import re
from collections.abc import Collection, Iterable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from rag.types import Heading, Page

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# Of a longer title or heading the rest is left out: every chunk below it carries it along.
MAX_TITLE_CHARS = 300

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*\r?$", re.MULTILINE)
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*`]|\\(?=[^\w\s])|</?\w[^>]*>")
# CommonMark's line endings only: str.splitlines would also cut at form feeds and the like.
_LINE_END = re.compile(r"\r\n|\n|\r")


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """Give the headings in order, `start` being where their line begins."""
    front = _FRONT_MATTER.match(text)
    offset = front.end() if front else 0
    body = text[offset:]
    starts = [0, *(match.end() for match in _LINE_END.finditer(body))]
    tokens = _blocks().parse(body)
    return tuple(
        Heading(level=int(token.tag[1]), title=_plain(inline.content), start=offset + starts[token.map[0]])
        for token, inline in pairwise(tokens)
        if token.type == "heading_open" and token.map and _plain(inline.content)
    )


def front_matter_title(text: str) -> str | None:
    """Give the title that YAML front matter declares, if any."""
    front = _FRONT_MATTER.match(text)
    title = _FRONT_TITLE.search(front[1]) if front else None
    return title[1].strip("\"'") or None if title else None


def slide_headings(text: str, pages: Iterable[Page], titles: Collection[str]) -> tuple[Heading, ...]:
    """Give the headings of a presentation: the slides' first lines that are known to be titles."""
    known = {_plain(title) for title in titles}
    first_lines = ((page.start, text[page.start : page.end].partition("\n")[0].strip()) for page in pages)
    return tuple(Heading(level=1, title=line, start=start) for start, line in first_lines if line in known)


def headings_titled(text: str, pages: Iterable[Page], titles: Collection[str]) -> tuple[Heading, ...]:
    """Give the headings of a text of any format, in order, where it is known what all of them say."""
    if not titles:
        return ()
    found = {heading.start: heading for heading in (*slide_headings(text, pages, titles), *markdown_headings(text))}
    return tuple(found[start] for start in sorted(found) if found[start].title in titles)


def _plain(source: str) -> str:
    """Take the markup off a heading: it is shown and searched as words."""
    return " ".join(_MARKUP.sub(r"\1", source[:MAX_TITLE_CHARS]).split())


@cache
def _blocks() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    # Blocks only: inline parsing would cost four times as much and finds no heading.
    return MarkdownIt("commonmark").disable("inline")
