"""Searching vector stores: their indexes are held in memory and follow the database before each search."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rag.index import StoreIndex
from rag.ports import Embedder
from rag.retrieve import SearchOptions, retrieve
from rag.types import Hit
from services.errors import NotFound
from services.storage.chunks import SqlChunkSource
from services.storage.database import Database
from services.storage.tables import VectorStoreRow
from services.storage.vector_stores import find_store, is_expired, note_activity, require_embedder

ACTIVITY_RESOLUTION_S = 60


class Searching:
    """Search over the stores of a project; any number of threads may use it."""

    def __init__(self, database: Database, embedder: Callable[[], Embedder], indexes: Path) -> None:
        self._database = database
        self._embedder = embedder
        self._folder = indexes
        self._indexes: dict[str, StoreIndex] = {}

    def search(
        self,
        project_id: str,
        store_ids: Sequence[str],
        query: str | Sequence[str],
        options: SearchOptions | None = None,
    ) -> list[Hit]:
        """Give the best passages of all these stores, best first, each as committed now. Raises NotFound."""
        options = options or SearchOptions()
        unique = dict.fromkeys(store_ids)
        hits = [hit for store_id in unique for hit in self._of_one(project_id, store_id, query, options)]
        if len(unique) == 1:
            return hits
        best = sorted(hits, key=lambda hit: (-hit.score, hit.passage.chunk_id))[: options.max_results]
        return [replace(hit, rank=rank) for rank, hit in enumerate(best, 1)]

    def forget(self, store_id: str) -> None:
        """Remove the index of a store that is no more."""
        self._indexes.pop(store_id, None)
        shutil.rmtree(self._folder / store_id, ignore_errors=True)

    def _of_one(self, project_id: str, store_id: str, query: str | Sequence[str], options: SearchOptions) -> list[Hit]:
        store = self._searchable(project_id, store_id)
        embedder = self._embedder()
        require_embedder(store.embedder, embedder)
        source = SqlChunkSource(self._database, store_id)
        return retrieve(query, index=self._index(store_id, embedder), source=source, embedder=embedder, options=options)

    def _searchable(self, project_id: str, store_id: str) -> VectorStoreRow:
        now = int(time.time())
        with self._database.read() as session:
            store = find_store(session, project_id, store_id)
        if store is None:
            raise NotFound(f"No vector store found with id {store_id!r}.")
        if is_expired(store, now):
            raise NotFound(f"The vector store {store_id!r} has expired.", code="expired")
        if store.last_active_at < now - ACTIVITY_RESOLUTION_S:
            with self._database.write() as session:
                note_activity(session, store_id, now)
        return store

    def _index(self, store_id: str, embedder: Embedder) -> StoreIndex:
        # setdefault is atomic: two threads that come first together share one.
        index = StoreIndex(self._folder / store_id, embedder_id=embedder.id, dimensions=embedder.dimensions)
        return self._indexes.setdefault(store_id, index)
