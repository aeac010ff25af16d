"""How many lists must be looked at so that the nearest are found: measured on the index's own rows."""

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.vectors.clusters import Clusters
from rag.vectors.rows import Rows
from rag.vectors.scan import best, cosines_of, nearest

TARGET = 0.985
"""The share of the ten nearest that must be found; the sample's error is a quarter of what it is above .98."""
LEAST_PROBES = 8
"""Questions are less like the rows than those are like each other."""
QUERIES = 512
NEAREST = 10
STEP = 1.25
BLOCK_ROWS = 131_072


def fitted_probes(clusters: Clusters, rows: Rows) -> tuple[int, float]:
    """Give the least lists to look at that reach the target, and the recall@10 that they give.

    Rows stand in for questions, each without itself among what is to be found.
    """
    chosen = np.random.default_rng(1).choice(rows.live, min(QUERIES, len(rows.live)), replace=False)
    covered = rows.live[rows.live < clusters.rows]
    truth = _truth(rows, covered, chosen)
    probes = min(LEAST_PROBES, clusters.lists)
    while (recall := _recall(clusters, rows, chosen, truth, probes)) < TARGET and probes < clusters.lists:
        probes = min(clusters.lists, max(probes + 1, int(probes * STEP)))
    return probes, recall


def _truth(rows: Rows, covered: NDArray[np.int64], chosen: NDArray[np.int64]) -> list[set[int]]:
    queries = np.ascontiguousarray(rows.vectors[chosen])
    merged = np.empty((len(chosen), 0), dtype=np.int64)
    for start in range(0, len(covered), BLOCK_ROWS):
        block = covered[start : start + BLOCK_ROWS]
        vectors = np.ascontiguousarray(rows.vectors[block])
        found = block[nearest(queries, vectors, min(NEAREST + 1, len(block)))]
        merged = np.concatenate([merged, found], axis=1)
    return [
        _others(rows, query, number, candidates)
        for query, number, candidates in zip(queries, chosen.tolist(), merged, strict=True)
    ]


def _recall(clusters: Clusters, rows: Rows, chosen: NDArray[np.int64], truth: list[set[int]], probes: int) -> float:
    alive = None if not rows.gone else rows.alive[: clusters.rows]
    found = wanted = 0
    for number, expected in zip(chosen.tolist(), truth, strict=True):
        query = np.ascontiguousarray(rows.vectors[number])
        candidates = clusters.search(query, NEAREST + 1, alive, probes)
        found += len(expected & _others(rows, query, number, candidates))
        wanted += len(expected)
    return found / wanted if wanted else 1.0


def _others(rows: Rows, query: Vectors, number: int, candidates: NDArray[np.int64]) -> set[int]:
    """Give the ten nearest of the candidates, without the row that asks."""
    others = candidates[candidates != number]
    return set(best(others, cosines_of(query, rows.vectors, others), NEAREST)[0].tolist())
