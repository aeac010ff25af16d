"""The vector index of one store: cosines over unit vectors, on disk as a log, exact while it is small (FAISS).

A chunk has one vector for each of its windows and scores by the best of them. Up to `EXACT_ROWS` rows are kept in
memory and searched one by one; more are mapped from their file and searched through lists (`clusters.py`), but for
those that came since the lists were made, and but for filters that leave few. A store may have several of these, each
in a folder of its own.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.types import ChunkId
from rag.vectors.build import checksum, due
from rag.vectors.clusters import Manifest
from rag.vectors.epoch import Epoch
from rag.vectors.log import LogDamaged, begin_epoch, newest_epoch
from rag.vectors.rows import Rows
from rag.vectors.search import search

READ_CHUNKS = 1024
BUILD_AGAIN_S = 60.0

log = logging.getLogger(__name__)


class VectorIndex:
    """Vectors by chunk id. Any number of threads may search while one changes it.

    `refresh`, `add` and `remove` are for one thread at a time, the last two for one process: their caller holds a lock
    and has refreshed under it.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        """Open the folder's index, or begin an empty one there. What is damaged is left out, with a line in the log."""
        self._folder = folder
        self._dimensions = dimensions
        self._builder: subprocess.Popen[bytes] | None = None
        self.damaged: list[str] = []
        """What was found damaged and left out since this was opened."""
        self._build_after = 0.0
        self._epoch = self._opened()

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all chunks that have vectors, ascending."""
        return self.rows.ids

    @property
    def rows(self) -> Rows:
        """What is searched now: vectors, whose they are, and which have gone. It never changes."""
        return self._epoch.view.rows

    def stale(self) -> bool:
        """Tell cheaply whether the files have been replaced, so that `refresh` has something to do."""
        return self._state() != self._seen

    def refresh(self) -> None:
        """See what other processes have added, removed or built."""
        if self.stale() or not self._caught_up():
            self._epoch = self._opened()

    def add(self, chunk_ids: Sequence[ChunkId], vectors: Sequence[Vectors]) -> None:
        """Add chunks that are not in the index, each with its `float32 [windows, dimensions]`. OSError adds none."""
        if chunk_ids:
            owners = np.repeat(np.asarray(chunk_ids, dtype=np.int64), [len(windows) for windows in vectors])
            self._epoch.add(owners, np.concatenate(vectors))

    def remove(self, chunk_ids: NDArray[np.int64]) -> None:
        """Remove chunks; those that are not in the index are ignored. OSError removes none."""
        if len(chunk_ids):
            self._epoch.remove(chunk_ids)

    def search(self, query: Vectors, limit: int, within: NDArray[np.int64] | None = None) -> dict[ChunkId, float]:
        """Give the cosine of the best `limit` chunks, best first; of those in `within` where it is given."""
        return search(self._epoch.view, query, limit, within)

    def vectors(self, chunk_ids: NDArray[np.int64]) -> Iterator[tuple[ChunkId, Vectors]]:
        """Give the stored vectors of chunks, ascending, each `float32 [windows, dimensions]`, as they were added."""
        rows = self.rows
        for start in range(0, len(chunk_ids), READ_CHUNKS):
            numbers = rows.of(np.unique(chunk_ids[start : start + READ_CHUNKS]))
            numbers = numbers[np.argsort(rows.owners[numbers], kind="stable")]
            owners = rows.owners[numbers]
            cuts = np.flatnonzero(np.diff(owners)) + 1
            for place, windows in zip(np.split(owners, cuts), np.split(rows.vectors[numbers], cuts), strict=True):
                if len(place):
                    yield ChunkId(int(place[0])), windows

    def check(self) -> None:
        """Read all that is on disk. Raises LogDamaged where it is not what was written."""
        epoch = self._epoch.folder
        Rows.read(epoch, self._dimensions)
        manifest = Manifest.read(epoch)
        for part in manifest.parts if manifest else ():
            if checksum(epoch / part.file) != part.checksum:
                raise LogDamaged(f"{part.file} in {str(epoch)!r} is damaged.")

    def discard(self) -> None:
        """Begin again without any chunk; what is there now stays to be searched by whoever holds it."""
        self._begun(int(self._epoch.folder.name) + 1)
        self._epoch = self._opened()

    def maintain(self) -> None:
        """Have lists made, or made anew, in a process beside this one where the index's size asks for it."""
        if time.monotonic() < self._build_after or (self._builder is not None and self._builder.poll() is None):
            return
        view = self._epoch.view
        if due(view.rows, view.clusters.manifest if view.clusters else None):
            command = [sys.executable, "-m", "rag.vectors", str(self._folder), str(self._dimensions)]
            root = Path(__file__).parents[2]
            # Another process may be at it already, or the disk be full.
            self._build_after = time.monotonic() + BUILD_AGAIN_S
            # It ends when its input does, which is when this process ends.
            self._builder = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE)  # noqa: S603
            threading.Thread(target=_await, args=[self._builder], daemon=True, name="vectors-build").start()

    def finish_maintaining(self, timeout_s: float | None = None) -> bool:
        """Wait for what `maintain` began; say whether it went well."""
        return self._builder is None or self._builder.wait(timeout_s) == 0

    def _opened(self) -> Epoch:
        """Open the newest epoch, or begin the next one with what is whole of it."""
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = newest_epoch(self._folder) or self._begun(1)
            # Looked at before the files are read: a change between the two makes the next refresh read again.
            self._seen = self._state()
            epoch = Epoch(folder, self._dimensions)
            try:
                epoch.read()
                return epoch
            except (LogDamaged, FileNotFoundError) as exc:
                rows = epoch.view.rows
                if newest_epoch(self._folder) == folder:
                    log.warning("vector_log_damaged path=%s kept=%d reason=%r", folder, len(rows.ids), exc)
                    self.damaged.append(f"the vectors are unusable: {exc}")
                    self._begun(int(folder.name) + 1, rows)

    def _begun(self, number: int, rows: Rows | None = None) -> Path:
        rows = rows or Rows.none(self._dimensions)
        return begin_epoch(self._folder, number, rows.owners, rows.vectors, rows.live)

    def _caught_up(self) -> bool:
        """Read what has been appended since; say whether that went well."""
        try:
            self._epoch.read()
        except (LogDamaged, FileNotFoundError):
            return False
        return True

    def _state(self) -> tuple[str, int]:
        """What changes when an epoch, or its lists, are replaced; not when its log grows."""
        epoch = newest_epoch(self._folder)
        try:
            return ("", 0) if epoch is None else (str(epoch), epoch.stat().st_mtime_ns)
        except FileNotFoundError:
            return "", 0


def _await(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        log.warning("vector_lists_not_made code=%d", process.returncode)
    if process.stdin is not None:
        process.stdin.close()
