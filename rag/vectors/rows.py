"""The rows of a vector index as they were at a moment: whose they are, and which have gone.

Nothing of it ever changes, so that a search holds one and needs no lock; a change makes the next one.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.vectors.log import Record, VectorLog

FEW = 8
"""Where one in so many ids is asked for, looking through all of them is faster than looking each up."""


class Rows:
    """`owners` is `int64 [n]`, the chunk of each row; `alive` `bool [n]`; `vectors` `float32 [n, dimensions]`."""

    def __init__(self, owners: NDArray[np.int64], alive: NDArray[np.bool_], vectors: Vectors) -> None:
        self.owners = owners
        self.alive = alive
        self.vectors = vectors

    @classmethod
    def read(cls, epoch: Path, dimensions: int) -> "Rows":
        """Read and check a whole epoch; its vectors are mapped. Raises LogDamaged, FileNotFoundError."""
        log = VectorLog(epoch, dimensions)
        changes = list(log.read())
        for change in changes:
            log.check(change)
        return cls.none(dimensions).changed(changes, log.vectors(first=0, count=log.rows))

    @classmethod
    def none(cls, dimensions: int) -> "Rows":
        nothing = np.empty((0, dimensions), dtype=np.float32)
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), nothing)

    def changed(self, changes: Sequence[Record], vectors: Vectors) -> "Rows":
        """Give the rows after these changes, with the vectors of all of them."""
        owners = np.concatenate([self.owners, *(change.ids for change in changes if change.added)])
        alive = np.concatenate([self.alive, np.ones(len(owners) - len(self.owners), dtype=np.bool_)])
        after = Rows(owners, alive, vectors)
        removals = [change for change in changes if not change.added]
        if removals:
            ids = np.concatenate([change.ids for change in removals])
            # A chunk may have come again after it was removed.
            until = np.repeat([change.first for change in removals], [len(change.ids) for change in removals])
            places, counts = after._places(ids)
            alive[places[places < np.repeat(until, counts)]] = False
        return after

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The chunks that have rows, ascending."""
        return distinct(self.owners[self.alive])

    @cached_property
    def live(self) -> NDArray[np.int64]:
        """The numbers of the rows that have not gone, ascending."""
        return np.flatnonzero(self.alive)

    @cached_property
    def gone(self) -> int:
        return len(self.alive) - int(np.count_nonzero(self.alive))

    def of(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the numbers of the live rows of these chunks, ascending; `chunk_ids` are distinct."""
        if len(chunk_ids) * FEW > len(self.owners):
            return np.flatnonzero(self.alive & np.isin(self.owners, chunk_ids))
        places, _ = self._places(chunk_ids)
        return np.sort(places[self.alive[places]])

    def _places(self, chunk_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the numbers of the rows of each chunk after each other, and how many each has."""
        order, ascending = self._sorted
        starts = np.searchsorted(ascending, chunk_ids, "left")
        counts = np.searchsorted(ascending, chunk_ids, "right") - starts
        places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return (places if order is None else order[places]), counts

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """What sorts the owners, None where they are sorted as they mostly are (ids grow), and they sorted."""
        if np.all(self.owners[1:] >= self.owners[:-1]):
            return None, self.owners
        order = np.argsort(self.owners, kind="stable")
        return order, self.owners[order]


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each value once, ascending; fast where they are sorted already."""
    steps = np.diff(values)
    if np.any(steps < 0):
        return np.unique(values)
    return values[np.concatenate([[True], steps > 0])] if len(values) else values


class Growing:
    """Rows in memory, `float32 [n, dimensions]`, that only grow in number. What was given of them stays as it was."""

    def __init__(self, dimensions: int) -> None:
        self._buffer = np.empty((0, dimensions), dtype=np.float32)
        self.size = 0

    def append(self, rows: Vectors) -> Vectors:
        """Add rows and give all there are."""
        end = self.size + len(rows)
        if end > len(self._buffer):
            larger = np.empty((2 * end, self._buffer.shape[1]), dtype=np.float32)
            larger[: self.size] = self._buffer[: self.size]
            self._buffer = larger
        self._buffer[self.size : end] = rows
        self.size = end
        return self._buffer[:end]
