"""Hard negatives: passages that a search gives for a query and that do not answer it.

What a search finds may well answer a query without anybody having said so. As in NV-Retriever (arXiv 2407.15831), a
passage counts as wrong only if its score is at most 95 % of that of the query's own passage.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from finetune.encoder.queries import Query, passages_of
from finetune.encoder.ranking import Encode
from finetune.encoder.triplets import columns_of

FILE = "negatives.jsonl"
"""Its name in a job's folder: a line for each query trained on, with the wrong passages found for it."""

SHARE_OF_RIGHT = 0.95
FOUND = 100
"""Passages that are asked for; where all score too high, the furthest of them are taken."""

POOL = 30
"""The negatives are drawn from so many of the nearest: the very nearest are too often right."""

QUERIES_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A passage and its score, which grows with its nearness to the query."""

    text: str
    score: float


class Search(Protocol):
    """Finds passages as the embedder that is to be tuned sees them now."""

    def nearest(self, queries: Sequence[str], count: int) -> Sequence[Sequence[Found]]:
        """Give for each query at most `count` passages, the nearest first."""

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> Sequence[float]:
        """Give the score of each query with the passage in the same place."""


class PassageSearch:
    """Search among given passages."""

    def __init__(self, encode: Encode, passages: Sequence[str]) -> None:
        self._encode, self._passages = encode, passages
        self._vectors = encode(passages)

    def nearest(self, queries: Sequence[str], count: int) -> list[list[Found]]:
        cosines = self._encode(queries) @ self._vectors.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [Found(text=self._passages[index], score=float(row[index])) for index in best]
            for row, best in zip(cosines, order.tolist(), strict=True)
        ]

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> list[float]:
        scores: list[float] = (self._encode(queries) * self._encode(passages)).sum(axis=1).tolist()
        return scores


def mine(queries: Sequence[Query], search: Search, *, seed: int) -> Iterator[tuple[str, ...]]:
    """Give for each query the wrong passages that its rows lack, drawn by `seed`; fewer where there are no more."""
    rng = random.Random(seed)  # noqa: S311  # a draw, not a secret
    columns = columns_of(queries)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[start : start + QUERIES_AT_ONCE]
        found = search.nearest([query.text for query in some], FOUND)
        least = _least_right(some, search)
        for query, near, right in zip(some, found, least, strict=True):
            lacking = max(0, columns - len(query.negatives))
            wrong = [one for one in near if not _says_the_same(one.text, (*query.passages, *query.negatives))]
            apart = [one.text for one in wrong if one.score <= SHARE_OF_RIGHT * right][:POOL]
            drawn = rng.sample(apart, min(lacking, len(apart)))
            furthest = [one.text for one in reversed(wrong) if one.text not in drawn]
            yield (*drawn, *furthest[: lacking - len(drawn)])


def write(folder: Path, negatives: Sequence[tuple[str, ...]]) -> None:
    """Keep what was found with the job, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{FILE}.new"
    beside.write_text("".join(json.dumps(texts) + "\n" for texts in negatives), encoding="utf-8")
    beside.replace(folder / FILE)


def read(folder: Path) -> list[tuple[str, ...]] | None:
    """Give what was kept, None if nothing was."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return [tuple(json.loads(line)) for line in lines]


def own_search(queries: Sequence[Query], encode: Encode) -> PassageSearch:
    """Search among the queries' own passages, for want of a store."""
    return PassageSearch(encode, passages_of(queries))


def _least_right(queries: Sequence[Query], search: Search) -> list[float]:
    """Give the score of the lowest right passage of each query."""
    pairs = [(query.text, passage) for query in queries for passage in query.passages]
    scores = iter(search.scores([text for text, _ in pairs], [passage for _, passage in pairs]))
    return [min(next(scores) for _ in query.passages) for query in queries]


def _says_the_same(text: str, right: Sequence[str]) -> bool:
    """A store may hold a part of a right passage, or more around it."""
    plain = " ".join(text.split())
    return any(plain in other or other in plain for other in (" ".join(one.split()) for one in right))
