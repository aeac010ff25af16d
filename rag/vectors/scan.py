"""Search without an index: the query against every row, or against named ones (FAISS's kernels).

Rows are given as `float32 [n, dimensions]`, in memory or mapped; a query as `float32 [dimensions]`.
"""

import mmap
from typing import Any

import faiss as untyped
import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors

# Its own stubs leave out what is used here.
faiss: Any = untyped


def cosines_of_all(query: Vectors, rows: Vectors) -> NDArray[np.float32]:
    """Give the inner product of the query with each row."""
    cosines = np.empty(len(rows), dtype=np.float32)
    if len(rows):
        faiss.fvec_inner_products_ny(_at(cosines), _at(query), _at(rows), rows.shape[1], len(rows))
    return cosines


def cosines_of(query: Vectors, rows: Vectors, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Give the inner product of the query with each row that is named; nothing is copied."""
    cosines = np.empty(len(numbers), dtype=np.float32)
    if len(numbers):
        wanted = np.ascontiguousarray(numbers)
        # FAISS spreads even one query over threads, which then spin; the setting is per calling thread.
        faiss.omp_set_num_threads(1)
        faiss.fvec_inner_products_by_idx(
            _at(cosines), _at(query), _at(rows), _at(wanted), rows.shape[1], 1, len(wanted)
        )
    return cosines


def best(numbers: NDArray[np.int64], cosines: NDArray[np.float32], depth: int) -> tuple[NDArray[np.int64], Any]:
    """Give the `depth` rows of the highest cosines with these, best first, the lower number first of equals."""
    if len(numbers) > depth:
        kept = np.argpartition(cosines, len(cosines) - depth)[-depth:]
        numbers, cosines = numbers[kept], cosines[kept]
    order = np.lexsort((numbers, -cosines))
    return numbers[order], cosines[order]


def nearest(queries: Vectors, rows: Vectors, depth: int) -> NDArray[np.int64]:
    """Give the numbers of the `depth` rows nearest each query, `int64 [queries, depth]`, best first."""
    _, numbers = faiss.knn(queries, rows, depth, metric=faiss.METRIC_INNER_PRODUCT)
    found: NDArray[np.int64] = numbers
    return found


def _at(array: NDArray[Any]) -> Any:
    return faiss.swig_ptr(array)


def release(rows: Vectors) -> None:
    """Give mapped rows back to the system, which keeps them cached: what was touched is not held from then on."""
    mapped = getattr(rows, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
