"""Queries laid out in rows: each with one passage that answers it, and some that do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice

from finetune.encoder.queries import Query, passages_of
from finetune.errors import TrainingFailed

MOST_COLUMNS = 8
"""Wrong passages of one row; a query that is given more has several rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A query, by its place among the queries, a passage that answers it, and some that do not."""

    query: int
    passage: str
    negatives: tuple[str, ...]


def columns_of(queries: Sequence[Query]) -> int:
    """Give the wrong passages of a row: as many as the query has that is given the most, but one at least."""
    return min(MOST_COLUMNS, max(1, *(len(query.negatives) for query in queries)))


def rows_of(queries: Sequence[Query], mined: Sequence[Sequence[str]]) -> list[Row]:
    """Give a row for each right passage, or several: every wrong passage that the file gives is in one of them.

    All rows have equally many wrong ones. What the file gives comes first, then what was mined. Raises TrainingFailed
    if a query has none to be told apart from.
    """
    columns = columns_of(queries)
    others = passages_of(queries)
    rows = []
    for place, (query, found) in enumerate(zip(queries, mined, strict=True)):
        wrong = list(dict.fromkeys((*query.negatives, *found))) or _another(query, others, place)
        for start in range(0, max(1, len(query.negatives)), columns):
            taken = tuple(islice(chain(wrong[start:], cycle(wrong)), columns))
            rows += [Row(query=place, passage=passage, negatives=taken) for passage in query.passages]
    return rows


def _another(query: Query, passages: Sequence[str], place: int) -> list[str]:
    for index in range(len(passages)):
        text = passages[(place + index) % len(passages)]
        if text not in query.passages:
            return [text]
    raise TrainingFailed(
        "There is nothing to tell apart: one passage answers every query.",
        code="invalid_file",
        hint="Add queries with other passages, or give wrong ones under `negatives`.",
    )
