"""One epoch of a vector index, open: its log read so far, its rows as they stand, and the lists that there are."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.vectors.build import EXACT_ROWS
from rag.vectors.clusters import Clusters, Manifest
from rag.vectors.log import Record, VectorLog
from rag.vectors.rows import Growing, Rows
from rag.vectors.search import View

log = logging.getLogger(__name__)


class Epoch:
    """`view` is what is searched; it is replaced whole by each change. One thread at a time may change it."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        """Name the epoch's folder and open its lists; no row is read yet."""
        self.folder = folder
        self._log = VectorLog(folder, dimensions)
        self._memory: Growing | None = Growing(dimensions)
        self.view = View(Rows.none(dimensions), _readable_clusters(folder))

    def read(self) -> None:
        """Take over what has been appended since. Raises LogDamaged after what is whole, FileNotFoundError.

        Rows that are in lists were checked when the lists were made; a start that checked them again would take longer
        the larger the store.
        """
        checked = max(self._log.rows, self.view.clusters.rows if self.view.clusters else 0)
        records = []
        try:
            for record in self._log.read():
                if record.first >= checked:
                    self._log.check(record)
                records.append(record)
        finally:
            self._apply(records)

    def add(self, owners: NDArray[np.int64], vectors: Vectors) -> None:
        first = self._log.rows
        self._log.add(owners, vectors)
        self._apply([Record(added=True, ids=owners, first=first, checksum=0)])

    def remove(self, chunk_ids: NDArray[np.int64]) -> None:
        self._log.remove(chunk_ids)
        self._apply([Record(added=False, ids=chunk_ids, first=self._log.rows, checksum=0)])

    def _apply(self, records: Sequence[Record]) -> None:
        if records:
            rows = self.view.rows
            count = len(rows.owners) + sum(len(record.ids) for record in records if record.added)
            self.view = View(rows.changed(records, self._vectors(count)), self.view.clusters)

    def _vectors(self, count: int) -> Vectors:
        """Give the vectors of the first `count` rows, from memory as long as they are few."""
        if count > EXACT_ROWS:
            self._memory = None
        if self._memory is None:
            return self._log.vectors(first=0, count=count)
        held = self._memory.size
        return self._memory.append(self._log.vectors(first=held, count=count - held))


def _readable_clusters(folder: Path) -> Clusters | None:
    try:
        manifest = Manifest.read(folder)
        return None if manifest is None else Clusters(folder, manifest)
    except (ValueError, OSError) as exc:
        # They may just have been replaced. If not, whoever builds next makes them again.
        log.warning("vector_lists_unusable path=%s reason=%r", folder, exc)
        return None
