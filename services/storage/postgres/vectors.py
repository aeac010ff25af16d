"""Nearest vectors with pgvector: every vector where they are few or a filter leaves few, else an HNSW graph.

Vectors are kept as halfvec: a cosine is off by some .0001, and they take half of the room. They are of length 1, so
that the inner product is the cosine; pgvector gives it with its sign turned.
"""

from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, text

from rag.ports import Vectors
from rag.types import ChunkId
from services.storage.postgres.tables import IndexTables

Ids: TypeAlias = NDArray[np.int64]

# From so many vectors on a graph is made; what was measured is in README.md.
GRAPH_FROM = 8_192
# A search of a graph goes on until it has enough that a filter keeps, but looks at no more: hnsw.max_scan_tuples.
MOST_LOOKED_AT = 20_000
# A filter that keeps more than one in so many is a long list to the database: what is found is held against it here.
KEEPS_MANY = 4


def as_halfvec(vector: Vectors) -> str:
    """Write a vector as pgvector reads it."""
    return f"[{','.join(map(str, vector.tolist()))}]"


def nearest(
    connection: Connection,
    tables: IndexTables,
    query: Vectors,
    limit: int,
    within: Ids | None,
    *,
    in_graph: int | None,
) -> dict[ChunkId, float]:
    """Give the cosine of the nearest `limit` chunks, best first. `in_graph` is how many the graph has, if any."""
    if limit < 1 or (within is not None and not len(within)):
        return {}
    given: dict[str, object] = {"query": as_halfvec(query.reshape(-1))}
    if in_graph is None or not _graph_pays(limit, in_graph, within):
        given |= {"limit": limit} if within is None else {"limit": limit, "within": within.tolist()}
        rows = connection.execute(text(_exact(tables, filtered=within is not None)), given)
        return {ChunkId(chunk_id): cosine for chunk_id, cosine in rows}
    depth, kept, only = 2 * limit, None, ""
    if within is not None and len(within) * KEEPS_MANY > in_graph:
        depth, kept = depth * KEEPS_MANY, within
    elif within is not None:
        given, only = given | {"within": within.tolist()}, "WHERE chunk_id = ANY(:within)"
    while True:
        near = connection.execute(text(_by_graph(tables, only)), given | {"limit": depth}).all()
        found = _best_windows(near, limit, kept)
        # Several windows of one chunk take several places: look deeper until there are enough chunks.
        if len(found) == limit or len(near) < depth:
            return found
        depth *= 2


def _graph_pays(limit: int, in_graph: int, within: Ids | None) -> bool:
    """Whether the graph's search would have enough before it breaks off."""
    return within is None or 2 * limit * in_graph <= len(within) * MOST_LOOKED_AT


def _exact(tables: IndexTables, *, filtered: bool) -> str:
    only = "WHERE chunk_id = ANY(:within)" if filtered else ""
    return (
        f"SELECT chunk_id, -min(vector <#> CAST(:query AS halfvec)) AS cosine FROM {tables.vectors} {only} "
        "GROUP BY chunk_id ORDER BY cosine DESC, chunk_id LIMIT :limit"
    )


def _by_graph(tables: IndexTables, only: str) -> str:
    return (
        f"SELECT chunk_id, -(vector <#> CAST(:query AS halfvec)) AS cosine FROM {tables.vectors} {only} "
        "ORDER BY vector <#> CAST(:query AS halfvec) LIMIT :limit"
    )


def _best_windows(rows: Sequence[Row[int, float]], limit: int, kept: Ids | None) -> dict[ChunkId, float]:
    """Keep each chunk's best window, of the best `limit` chunks; the graph's order is only nearly right."""
    if kept is not None:
        ids = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
        rows = [row for row, is_kept in zip(rows, np.isin(ids, kept).tolist(), strict=True) if is_kept]
    found: dict[ChunkId, float] = {}
    for chunk_id, cosine in sorted(rows, key=lambda row: (-row[1], row[0])):
        found.setdefault(ChunkId(chunk_id), cosine)
    return dict(islice(found.items(), limit))
