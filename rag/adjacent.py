"""Sources that follow each other in a document made one: what a cut has parted is read, and quoted, as it stands."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from rag.types import Hit, Passage

Between: TypeAlias = Callable[[Passage, int, int], str]
"""Reads the canonical text of a passage's document from one offset to before another."""

# A chunk ends before the blanks that follow it; more characters than this are hardly blanks alone.
MOST_BLANKS = 16


def joined(hits: Sequence[Hit], between: Between) -> tuple[Hit, ...]:
    """Give the hits, best first, those of one page that follow each other or overlap as one in the best one's place.

    The joined text is the canonical text from the first one's start to the last one's end.
    """
    runs: list[Hit] = []
    for hit in sorted(hits, key=_place):
        longer = _followed(runs[-1], hit, between) if runs else None
        runs[-1:] = [longer] if longer else [*runs[-1:], hit]
    return tuple(sorted(runs, key=lambda hit: hit.rank))


def _place(hit: Hit) -> tuple[str, int, int, int]:
    passage = hit.passage
    return passage.file_id, -1 if passage.page is None else passage.page, passage.start, passage.end


def _followed(first: Hit, second: Hit, between: Between) -> Hit | None:
    """Give both as one; None where the second does not go on where the first ends."""
    one, other = first.passage, second.passage
    if (one.file_id, one.page) != (other.file_id, other.page) or other.start > one.end + MOST_BLANKS:
        return None
    common = one.end - other.start
    blanks = between(one, one.end, other.start) if common < 0 else ""
    # Two stores may hold two versions of a file.
    fits = other.text.startswith(one.text[-common:][: len(other.text)]) if common > 0 else not blanks.strip()
    if not fits or len(blanks) != max(0, -common):
        return None
    best = min(first, second, key=lambda hit: hit.rank)
    whole = replace(
        best.passage,
        text=one.text + blanks + other.text[max(0, common) :],
        start=one.start,
        end=max(one.end, other.end),
        parts=(*one.chunks, *other.chunks),
    )
    return replace(best, passage=whole)
