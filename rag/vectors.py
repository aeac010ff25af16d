"""The vector index of one store: exact inner products over unit vectors, in memory, with a snapshot on disk (FAISS).

A chunk has one vector for each of its windows and scores by the best of them.
"""

import threading
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.types import ChunkId

CRC_BYTES = 4


class VectorIndex:
    """Vectors by chunk id. Safe to search from several threads while another changes it."""

    def __init__(self, dimensions: int) -> None:
        self._index: Any = faiss.IndexIDMap(faiss.IndexFlatIP(dimensions))
        self._ids = np.empty(0, dtype=np.int64)
        # FAISS moves its storage when it grows, so a search must not run beside a change.
        self._lock = threading.Lock()

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all chunks that have vectors, ascending."""
        return self._ids

    def add(self, chunk_ids: Sequence[ChunkId], vectors: Sequence[Vectors]) -> None:
        """Add chunks that are not in the index, each with its `float32 [windows, dimensions]`."""
        if not chunk_ids:
            return
        owners = np.repeat(np.asarray(chunk_ids, dtype=np.int64), [len(windows) for windows in vectors])
        stacked = np.ascontiguousarray(np.concatenate(vectors), dtype=np.float32)
        with self._lock:
            self._index.add_with_ids(stacked, owners)
            self._ids = np.union1d(self._ids, owners)

    def remove(self, chunk_ids: NDArray[np.int64]) -> None:
        """Remove chunks; those that are not in the index are ignored."""
        if len(chunk_ids):
            with self._lock:
                self._index.remove_ids(faiss.IDSelectorBatch(chunk_ids))
                self._ids = np.setdiff1d(self._ids, chunk_ids, assume_unique=True)

    def search(self, query: Vectors, limit: int, within: NDArray[np.int64] | None = None) -> dict[ChunkId, float]:
        """Give the cosine of the best `limit` chunks, best first; of those in `within` where it is given."""
        wanted = min(limit, len(self._ids if within is None else within))
        depth = 2 * limit
        while wanted > 0:
            ids, cosines = self._search_windows(query, depth, within)
            best = _best_windows(ids, cosines, limit)
            # Several windows of one chunk take several places: look deeper until there are enough chunks.
            if len(best) >= wanted or len(ids) < depth:
                return best
            depth *= 2
        return {}

    def _search_windows(
        self, query: Vectors, depth: int, within: NDArray[np.int64] | None
    ) -> tuple[list[ChunkId], list[float]]:
        parameters = faiss.SearchParameters()
        if within is not None:
            # FAISS keeps only a pointer to the selector: this name keeps it alive.
            selector = faiss.IDSelectorBatch(within)
            parameters.sel = selector
        # One query is too little for two threads, and idle OpenMP threads spin; the setting is per calling thread.
        faiss.omp_set_num_threads(1)
        with self._lock:
            cosines, ids = self._index.search(query.reshape(1, -1), min(depth, self._index.ntotal), params=parameters)
        found = int(np.count_nonzero(ids[0] >= 0))
        return ids[0, :found].tolist(), cosines[0, :found].tolist()

    def save(self, path: Path) -> None:
        """Write a snapshot that replaces the one at `path` whole or not at all."""
        with self._lock:
            content = faiss.serialize_index(self._index)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(zlib.crc32(content.data).to_bytes(CRC_BYTES, "little"))
            file.write(content.data)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, dimensions: int) -> "VectorIndex":
        """Read a snapshot. Raises ValueError where it is damaged, FileNotFoundError where there is none."""
        stored = np.fromfile(path, dtype=np.uint8)
        content = stored[CRC_BYTES:]
        if not len(content) or zlib.crc32(content.data) != int.from_bytes(stored[:CRC_BYTES].tobytes(), "little"):
            raise ValueError(f"The snapshot {path.name!r} is damaged.")
        loaded = cls(dimensions)
        loaded._index = faiss.deserialize_index(content)
        loaded._ids = np.unique(faiss.vector_to_array(loaded._index.id_map))
        return loaded


def _best_windows(ids: Sequence[ChunkId], cosines: Sequence[float], limit: int) -> dict[ChunkId, float]:
    """Keep each chunk's first window, which is its best, of the first `limit` chunks."""
    best: dict[ChunkId, float] = {}
    for chunk_id, cosine in zip(ids, cosines, strict=True):
        best.setdefault(chunk_id, cosine)
    return dict(islice(best.items(), limit))
