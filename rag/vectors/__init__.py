"""The vector index of a store: its rows on disk, how they are searched, and how it grows.

`index.py` is what the rest of `rag` sees; `log.py` keeps the rows, `clusters.py` searches many of them, `scan.py`
few of them, and `build.py` makes clusters in a process of its own.
"""

from rag.vectors.index import VectorIndex

__all__ = ["VectorIndex"]
