"""Where the indexes of generations are kept. All of it is derived, and can be made again from the database."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

from filelock import FileLock

from rag import verify
from rag.index import StoreIndex
from rag.ports import ChunkSource, Embedder, SearchIndex
from services.storage.tables import GenerationRow

log = logging.getLogger(__name__)

Wanted: TypeAlias = Callable[[], Mapping[str, Set[int]]]
"""Gives the generations that there are, by their stores."""


class Indexes(Protocol):
    """The indexes of all generations. What is written here of one, every process sees."""

    def open(self, generation: GenerationRow, embedder: Embedder) -> SearchIndex:
        """Give a generation's index, of which nothing is read before its first `sync`."""

    def faults(self, generation: GenerationRow, embedder: Embedder, source: ChunkSource) -> Iterator[str]:
        """Give what is kept otherwise than the source has it. What is only behind is no fault."""

    def remove_damaged(self, generation: GenerationRow) -> None:
        """Remove an index that is damaged where its `sync` would not notice; the next one makes it anew."""

    def clear(self, generation: GenerationRow) -> None:
        """Remove what is kept of an index that others may be searching: the next `sync` makes it anew."""

    def remove(self, generation: GenerationRow) -> None:
        """Remove the index of a generation that is no more."""

    def remove_store(self, store_id: str) -> None:
        """Remove the indexes of a store that is no more."""

    def tidy(self, wanted: Wanted, *, before: float) -> None:
        """Remove what is of no wanted generation and was left before a time.

        `wanted` is asked after what there is: the index of a generation that is made meanwhile is not seen, or wanted.
        """


class FileIndexes:
    """Indexes as files (FAISS and tantivy), in a folder that the processes of one machine share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, generation: GenerationRow, embedder: Embedder) -> StoreIndex:
        return StoreIndex(self._of(generation), embedder_id=embedder.id, dimensions=embedder.dimensions)

    def faults(self, generation: GenerationRow, embedder: Embedder, source: ChunkSource) -> Iterator[str]:
        """Hold it against its source on a copy: nothing is mended by being looked at."""
        folder = self._of(generation)
        for path in verify.damaged_text_files(folder):
            yield f"{path.relative_to(self._folder)}: the file is damaged"
        with self._copied(folder) as copy:
            index = StoreIndex(copy, embedder_id=embedder.id, dimensions=embedder.dimensions)
            index.sync(source)
            for says in (*index.mended, *verify.check_index(index, source)):
                # Of the copy only its messages know.
                yield says.replace(str(copy), str(folder))

    def remove_damaged(self, generation: GenerationRow) -> None:
        if any(verify.damaged_text_files(self._of(generation))):
            self.clear(generation)

    def clear(self, generation: GenerationRow) -> None:
        """Remove the files while nobody writes to them; the lock itself stays."""
        for kind in self._of(generation).glob("index-*"):
            with FileLock(kind / "lock"):
                for path in kind.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    elif path.name != "lock":
                        path.unlink(missing_ok=True)

    def remove(self, generation: GenerationRow) -> None:
        shutil.rmtree(self._of(generation), ignore_errors=True)

    def remove_store(self, store_id: str) -> None:
        shutil.rmtree(self._folder / store_id, ignore_errors=True)

    def tidy(self, wanted: Wanted, *, before: float) -> None:
        """Remove what is neither a store's folder nor, in one, a generation's."""
        old = [path for path in (*self._folder.glob("*"), *self._folder.glob("*/*")) if path.stat().st_mtime < before]
        generations = wanted()
        stores = {self._folder / store_id for store_id in generations}
        kept = stores | {self._folder / store_id / str(one) for store_id, ids in generations.items() for one in ids}
        for folder in old:
            if folder not in kept and folder.parent in {self._folder, *stores}:
                log.info("index_removed path=%s", folder.relative_to(self._folder))
                shutil.rmtree(folder, ignore_errors=True)

    def _of(self, generation: GenerationRow) -> Path:
        return self._folder / generation.store_id / str(generation.id)

    @contextmanager
    def _copied(self, folder: Path) -> Iterator[Path]:
        """Give a copy of an index's folder, taken while nobody writes to it; removed afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="verify-", ignore_cleanup_errors=True) as made:
            copy = Path(made) / "copy"
            for kind in folder.glob("index-*"):
                with FileLock(kind / "lock"):
                    shutil.copytree(kind, copy / kind.name, ignore=shutil.ignore_patterns("lock", ".tantivy-*.lock"))
            copy.mkdir(exist_ok=True)
            yield copy
