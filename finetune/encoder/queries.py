"""The queries of a training file, each once, with all that its rows say of it; and which of them are held out."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finetune.types import Example, Retrieval

HELD_OUT_SHARE = 10
MOST_HELD_OUT = 1_000
"""Of a file without a validation file one query in so many is held out, and no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query, every passage that answers it, and the passages given as wrong, none of which is among the right."""

    text: str
    passages: tuple[str, ...]
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What is trained on and what is measured by; no query is in both. `how` says it in a sentence's part."""

    training: tuple[Query, ...]
    held_out: tuple[Query, ...]
    how: str


def merged(examples: Iterable[Example]) -> tuple[Query, ...]:
    """Give the queries in the order of their first rows. What is right in one row is wrong in none."""
    right: dict[str, dict[str, None]] = {}
    wrong: dict[str, dict[str, None]] = {}
    for example in examples:
        assert isinstance(example, Retrieval)
        right.setdefault(example.query, {}).update(dict.fromkeys(example.passages))
        wrong.setdefault(example.query, {}).update(dict.fromkeys(example.negatives))
    return tuple(
        Query(text=text, passages=tuple(found), negatives=tuple(one for one in wrong[text] if one not in found))
        for text, found in right.items()
    )


def split(training: Sequence[Query], validation: Sequence[Query] | None) -> Split:
    """Hold out the validation file's queries or, without one, a tenth of the training file's: always the same ones."""
    if validation is not None:
        known = {query.text for query in training}
        held_out = tuple(query for query in validation if query.text not in known)
        how = f"the {len(held_out):,} queries of the validation file"
        if left_out := len(validation) - len(held_out):
            how += f" ({left_out:,} more are trained on, and do not count)"
        return Split(training=tuple(training), held_out=held_out, how=how)
    count = min(MOST_HELD_OUT, max(1, len(training) // HELD_OUT_SHARE)) if len(training) > 1 else 0
    chosen = set(sorted((query.text for query in training), key=_lot)[:count])
    return Split(
        training=tuple(query for query in training if query.text not in chosen),
        held_out=tuple(query for query in training if query.text in chosen),
        how=f"{count:,} of the {len(training):,} queries of the training file, which are not trained on",
    )


def passages_of(queries: Iterable[Query]) -> tuple[str, ...]:
    """Give all passages of queries, right and wrong, each once."""
    return tuple(dict.fromkeys(text for query in queries for text in (*query.passages, *query.negatives)))


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
