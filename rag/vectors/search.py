"""One search: the lists and the rows that came since, or only the rows that a filter leaves; then chunks by their best.

Nothing here changes anything, so any number of threads may search at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.types import ChunkId
from rag.vectors.build import EXACT_ROWS
from rag.vectors.clusters import Clusters
from rag.vectors.rows import Rows
from rag.vectors.scan import best, cosines_of, cosines_of_all, release

TOUCHED_ROWS = 512


@dataclass(frozen=True, slots=True)
class View:
    """What a search sees: the rows, and the lists of the first of them. It never changes.

    `touched` counts the rows that were read here and there since they were last given back.
    """

    rows: Rows
    clusters: Clusters | None
    touched: list[int] = field(default_factory=list)

    def touch(self, rows: int) -> None:
        """Note that so many mapped rows were read; the system maps sixteen pages for each."""
        self.touched.append(rows)
        if sum(self.touched) > TOUCHED_ROWS:
            self.touched.clear()
            release(self.rows.vectors)


def search(view: View, query: Vectors, limit: int, within: NDArray[np.int64] | None) -> dict[ChunkId, float]:
    """Give the cosine of the best `limit` chunks, best first; of those in `within` where it is given."""
    query = np.ascontiguousarray(query, dtype=np.float32).reshape(-1)
    allowed = None if within is None else view.rows.of(within)
    wanted = min(limit, len(view.rows.ids if within is None else within))
    depth = 2 * limit
    while wanted > 0:
        numbers, cosines = _nearest(view, query, depth, allowed)
        found = _best_windows(view.rows.owners[numbers].tolist(), cosines.tolist(), limit)
        # Several windows of one chunk take several places: look deeper until there are enough chunks.
        if len(found) >= wanted or len(numbers) < depth:
            return found
        depth *= 2
    return {}


def _nearest(
    view: View, query: Vectors, depth: int, allowed: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give the numbers and cosines of the best rows, best first; of those `allowed` where it is given."""
    rows, clusters = view.rows, view.clusters
    if allowed is not None and (clusters is None or len(allowed) <= EXACT_ROWS):
        return best(allowed, cosines_of(query, rows.vectors, allowed), depth)
    covered = clusters.rows if clusters else 0
    if allowed is None:
        newer, cosines = np.arange(covered, len(rows.owners)), cosines_of_all(query, rows.vectors[covered:])
        if rows.gone:
            kept = rows.alive[covered:]
            newer, cosines = newer[kept], cosines[kept]
    else:
        newer = allowed[allowed >= covered]
        cosines = cosines_of(query, rows.vectors, newer)
    if clusters is None:
        return best(newer, cosines, depth)
    older = clusters.search(query, depth, _wanted(rows, covered, allowed))
    exact = cosines_of(query, rows.vectors, older)
    view.touch(len(older))
    return best(np.concatenate([older, newer]), np.concatenate([exact, cosines]), depth)


def _wanted(rows: Rows, covered: int, allowed: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """Mark the rows of the lists that may be found; None where all may."""
    if allowed is None:
        return rows.alive[:covered] if rows.gone else None
    wanted = np.zeros(covered, dtype=np.bool_)
    wanted[allowed[allowed < covered]] = True
    return wanted


def _best_windows(ids: Sequence[ChunkId], cosines: Sequence[float], limit: int) -> dict[ChunkId, float]:
    """Keep each chunk's first window, which is its best, of the first `limit` chunks."""
    # From the last to the first, so that a chunk's first window stays.
    best = dict(zip(reversed(ids), reversed(cosines), strict=True))
    return {chunk_id: best[chunk_id] for chunk_id in islice(dict.fromkeys(ids), limit)}
