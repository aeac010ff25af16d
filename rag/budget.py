"""Choosing the sources that fit into the prompt."""

from collections.abc import Callable, Sequence

from rag.types import Hit


def within_budget(hits: Sequence[Hit], max_tokens: int, count_tokens: Callable[[str], int]) -> tuple[Hit, ...]:
    """Give the best hits whose texts together have at most `max_tokens`; always the first one.

    A hit too large for what is left is passed over for smaller ones below it: a short passage that
    answers is worth more than nothing.
    """
    chosen: list[Hit] = []
    left = max_tokens
    for hit in hits:
        tokens = count_tokens(hit.passage.text)
        if tokens <= left or not chosen:
            chosen.append(hit)
            left -= tokens
    return tuple(chosen)
