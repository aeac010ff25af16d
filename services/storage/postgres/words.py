"""BM25 in PostgreSQL's full text, over the same terms and by the same formula as the text index on disk.

    score = sum over the query's terms of  rarity * (k1 + 1) * tf / (tf + k1 * (1 - b + b * words / mean words))

How often a term is in a chunk, tf, is how many positions it has in the chunk's tsvector; so the positions are only
counted: a term that is there n times has the positions 1 to n. PostgreSQL tells them through `ts_rank`, which for one
term of weight 1 is (1 + 1/4 + … + 1/tf²) / (π²/6) (tsrank.c, calc_rank_or): the sum to tf lacks 1 / (tf + ½) of the
whole, nearly, which after rounding is exact.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from rag.lexical import BM25_B, BM25_K1, TextScores, ceiling, query_terms, rarity
from rag.types import ChunkId
from services.storage.postgres.tables import IndexTables

# Of a large store not every chunk that shares a word is scored: those with the rarest words of the query, some so many.
MOST_SCORED = 2_000
# A tsvector holds no more positions of one word (textsearch limits).
MOST_POSITIONS = 255
WHOLE = math.pi**2 / 6


Ids: TypeAlias = NDArray[np.int64]


class Counts(Protocol):
    """What BM25 has to know of all of an index: its chunks, and their words together."""

    @property
    def chunks(self) -> int: ...

    @property
    def words(self) -> int: ...


def as_tsvector(counted: Counter[str]) -> str:
    """Write terms with their counts as PostgreSQL reads a tsvector."""
    return " ".join(
        f"{_quoted(term)}:{','.join(map(str, range(1, min(count, MOST_POSITIONS) + 1)))}"
        for term, count in counted.items()
    )


def search(
    connection: Connection, tables: IndexTables, counts: Counts, query: str, limit: int, within: Ids | None
) -> TextScores:
    """Give the BM25 of the best chunks that share a term with the query, best first."""
    terms = query_terms(query)
    if not terms or limit < 1 or (within is not None and not len(within)):
        return TextScores({}, 0.0)
    wanted = text(f"SELECT term, chunks FROM {tables.terms} WHERE term = ANY(:terms)")
    found = {term: min(number, counts.chunks) for term, number in connection.execute(wanted, {"terms": terms})}
    most = ceiling(counts.chunks, [found.get(term, 0) for term in terms])
    if not found:
        return TextScores({}, most)
    share = 1.0 if within is None else len(within) / max(counts.chunks, 1)
    given = _given(found, counts, share) | {"limit": limit} | ({} if within is None else {"within": within.tolist()})
    rows = connection.execute(text(_statement(tables, len(found), filtered=within is not None)), given)
    return TextScores({ChunkId(chunk_id): score for chunk_id, score in rows}, most)


def _given(found: Mapping[str, int], counts: Counts, share: float) -> dict[str, object]:
    """The parameters of the statement, which is the same for all queries of as many terms."""
    mean = counts.words / counts.chunks if counts.words else 1.0
    given: dict[str, object] = {"any": " | ".join(map(_quoted, _rarest(found, share)))}
    given |= {"least": BM25_K1 * (1 - BM25_B), "more": BM25_K1 * BM25_B / mean}
    given |= {f"term_{number}": _quoted(term) for number, term in enumerate(found)}
    weights = ((BM25_K1 + 1) * rarity(counts.chunks, frequency) for frequency in found.values())
    return given | {f"weight_{number}": weight for number, weight in enumerate(weights)}


def _rarest(found: Mapping[str, int], share: float) -> list[str]:
    """Give the terms by which chunks are looked for: all, or as many as find enough of the `share` that a filter keeps.

    The others only add to scores.
    """
    rarest = sorted(found, key=lambda term: (found[term], term))
    together = list(accumulate(share * found[term] for term in rarest))
    return rarest[: max(1, bisect_right(together, MOST_SCORED))]


def _statement(tables: IndexTables, terms: int, *, filtered: bool) -> str:
    longer = "(CAST(:least AS float8) + CAST(:more AS float8) * words)"
    score = " + ".join(
        f"CAST(:weight_{number} AS float8) * (1 - {longer} / ({_frequency(number)} + {longer}))"
        for number in range(terms)
    )
    only = "AND chunk_id = ANY(:within)" if filtered else ""
    return (
        f"SELECT chunk_id, {score} AS score FROM {tables.chunks} WHERE terms @@ CAST(:any AS tsquery) {only} "
        "ORDER BY score DESC, chunk_id LIMIT :limit"
    )


def _frequency(number: int) -> str:
    rank = f"ts_rank('{{1,1,1,1}}', terms, CAST(:term_{number} AS tsquery))"
    return f"round(1 / ({WHOLE} * (1 - {rank})) - 0.5)"


def _quoted(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
