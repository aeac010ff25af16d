"""Choosing the sources that fit into the prompt."""

import re
from collections.abc import Callable, Sequence

from rag.types import Hit

# A shorter text says what it says by where it stands: "Not supported." under two headings is not the same.
REPEATED_CHARS = 80
_BLANKS_AND_MARKUP = re.compile(r"[\s*_`#|]+")


def within_budget(hits: Sequence[Hit], max_tokens: int, count_tokens: Callable[[str], int]) -> tuple[Hit, ...]:
    """Give the best hits whose texts together have at most `max_tokens`; always the first one.

    A hit too large for what is left is passed over for smaller ones below it: a short passage that
    answers is worth more than nothing. So is one whose text stands in a better one: the same text
    in two files says nothing twice.
    """
    chosen: list[Hit] = []
    said: list[str] = []
    left = max_tokens
    for hit in hits:
        says = _plain(hit.passage.text)
        if len(says) >= REPEATED_CHARS and any(says in one for one in said):
            continue
        tokens = count_tokens(hit.passage.text)
        if tokens <= left or not chosen:
            chosen.append(hit)
            said.append(says)
            left -= tokens
    return tuple(chosen)


def _plain(text: str) -> str:
    """Give a text without case, layout and markup. Words are left alone: one of them may be the whole difference."""
    return f" {_BLANKS_AND_MARKUP.sub(' ', text).casefold().strip()} "
