"""The indexes of one store, kept in step with the source that they are derived from.

Nothing here is a truth: a folder that is missing, damaged or behind is caught up or made again from
the source, and the only sign of it is a line in the log. Chunks never change, so comparing ids is
enough. Both indexes lie on disk and are shared by all processes. What is new is appended, never is the whole
written again, so that a start and a change cost what is new and not what is there.
"""

import hashlib
import logging
import shutil
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from rag.lexical import TextIndex, TextScores
from rag.ports import ChunkSource, IndexRow, Vectors
from rag.types import ChunkId
from rag.vectors import VectorIndex

# Raise it when what is stored or how text is analysed changes: old files are then left alone.
FORMAT = 2
ADD_ROWS = 1024
# With less than this free, what cannot be written is taken to be whole: the disk is full, not damaged.
ROOM_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class StoreIndex:
    """Both indexes of one store. Call `sync` before searching; any number of threads may do either."""

    def __init__(self, folder: Path, *, embedder_id: str, dimensions: int) -> None:
        """Name the store's folder; nothing is read before the first `sync`.

        Formats and embedders have folders of their own below it: none ever reads another's files.
        """
        kind = hashlib.sha256(f"{FORMAT}\0{embedder_id}\0{dimensions}".encode()).hexdigest()[:12]
        self._folder = folder / f"index-{kind}"
        self._dimensions = dimensions
        self._syncing = threading.Lock()
        self._revision: int | None = None
        self._text: TextIndex | None = None
        self._vectors: VectorIndex | None = None
        self._text_mended: list[str] = []

    @property
    def mended(self) -> list[str]:
        """What was found unusable on the disk and made again."""
        return self._text_mended + (self._vectors.damaged if self._vectors else [])

    def sync(self, source: ChunkSource) -> None:
        """Bring both indexes to what the source holds now; nearly free when nothing has changed."""
        if self._is_current(source.revision()):
            return
        with self._syncing:
            # Read before the ids: a change between the two makes the next call sync again.
            revision = source.revision()
            if not self._is_current(revision):
                self._folder.mkdir(parents=True, exist_ok=True)
                both_whole = self._sync_vectors(source) and self._sync_text(source)
                # What could not be written is searched as it is, and tried again with the next call.
                self._revision = revision if both_whole else None

    def maintain(self) -> None:
        """Have the vectors' lists made where their number asks for it, in a process beside this one."""
        if self._vectors is not None:
            self._vectors.maintain()

    def check(self) -> Iterator[str]:
        """Read all vectors on the disk; give what of them is not what was written."""
        assert self._vectors is not None, "sync comes first"
        try:
            self._vectors.check()
        except ValueError as exc:
            yield str(exc)

    def search_vectors(
        self, query: Vectors, limit: int, within: NDArray[np.int64] | None = None
    ) -> dict[ChunkId, float]:
        """Give the cosine of the nearest `limit` chunks, best first, of those in `within` where it is given."""
        assert self._vectors is not None, "sync comes first"
        return self._vectors.search(query, limit, within)

    def search_text(self, query: str, limit: int, within: NDArray[np.int64] | None = None) -> TextScores:
        """Give the BM25 of the best `limit` chunks, best first, of those in `within` where it is given."""
        assert self._text is not None, "sync comes first"
        return self._text.search(query, limit, within)

    def _is_current(self, revision: int) -> bool:
        return revision == self._revision and self._vectors is not None and not self._vectors.stale()

    def _sync_vectors(self, source: ChunkSource) -> bool:
        if self._vectors is None:
            # Under the lock, or two processes would begin the same epoch.
            with self._file_lock():
                self._vectors = VectorIndex(self._folder / "vectors", self._dimensions)
        else:
            self._vectors.refresh()
        if not np.array_equal(self._vectors.ids, source.chunk_ids()):
            try:
                with self._file_lock():
                    self._update_vectors(self._vectors, source)
            except OSError as exc:
                log.warning("vector_log_not_written path=%s reason=%r", self._folder, exc)
                return False
        return True

    def _update_vectors(self, vectors: VectorIndex, source: ChunkSource) -> None:
        vectors.refresh()
        # Read under the lock: no earlier writer has seen more of the source than this.
        live = source.chunk_ids()
        vectors.remove(np.setdiff1d(vectors.ids, live, assume_unique=True))
        for rows in _batches(source.rows(np.setdiff1d(live, vectors.ids, assume_unique=True))):
            vectors.add([row.chunk_id for row in rows], [row.vectors for row in rows])

    def _sync_text(self, source: ChunkSource) -> bool:
        try:
            self._text = self._reopened_text()
            if not np.array_equal(self._text.ids, source.chunk_ids()):
                self._update_text(self._text, source)
        except (ValueError, OSError) as exc:
            if self._text is not None and shutil.disk_usage(self._folder).free < ROOM_BYTES:
                log.warning("text_index_not_written path=%s reason=%r", self._text_folder, exc)
                return False
            log.warning("text_index_rebuilt path=%s reason=%r", self._text_folder, exc)
            self._text_mended.append(f"the text index is unusable: {exc}")
            self._text = self._rebuilt_text(source)
        return True

    def _reopened_text(self) -> TextIndex:
        if self._text is not None:
            self._text.reload()
            return self._text
        # Under the lock, or a folder that another process is making again would look damaged.
        with self._file_lock():
            return TextIndex(self._text_folder)

    def _update_text(self, text: TextIndex, source: ChunkSource) -> None:
        with self._file_lock():
            text.reload()
            # Read under the lock: no earlier writer has seen more of the source than this.
            live = source.chunk_ids()
            text.update(
                add=source.rows(np.setdiff1d(live, text.ids, assume_unique=True)),
                remove=np.setdiff1d(text.ids, live, assume_unique=True),
            )

    def _rebuilt_text(self, source: ChunkSource) -> TextIndex:
        with self._file_lock():
            shutil.rmtree(self._text_folder, ignore_errors=True)
            text = TextIndex(self._text_folder)
        self._update_text(text, source)
        return text

    def _file_lock(self) -> FileLock:
        return FileLock(self._folder / "lock")

    @property
    def _text_folder(self) -> Path:
        return self._folder / "text"


def _batches(rows: Iterator[IndexRow]) -> Iterator[list[IndexRow]]:
    while batch := list(islice(rows, ADD_ROWS)):
        yield batch
