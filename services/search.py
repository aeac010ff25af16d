"""Searching vector stores: their indexes are held in memory and follow the database before each search."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rag.ports import Embedder, Reranker, SearchIndex
from rag.retrieve import NO_TURNS, SearchOptions, retrieve
from rag.turns import Turn, Turns
from rag.types import Hit
from services.embedders import Embedders
from services.errors import NotFound
from services.indexes import Indexes
from services.storage.chunks import GenerationGone, SqlChunkSource
from services.storage.database import Database
from services.storage.graphs import SqlEntityGraph
from services.storage.kept_chunks import KeptChunks
from services.storage.tables import GenerationRow
from services.storage.vector_stores import Searched, find_searched, is_expired, note_activity

ACTIVITY_RESOLUTION_S = 60
# More threads than these, searching in this process, only take the interpreter from each other.
AT_ONCE = os.cpu_count() or 1


class Searching:
    """Search over the stores of a project; any number of threads may use it."""

    def __init__(
        self,
        database: Database,
        embedders: Embedders,
        indexes: Indexes,
        reranker: Callable[[], Reranker | None] = lambda: None,
    ) -> None:
        self._database = database
        self._embedders = embedders
        self._indexes = indexes
        self._reranker = reranker
        # A server of databases searches in processes of its own, as many as it has.
        self._turn: Turn = NO_TURNS if database.is_postgres else Turns(AT_ONCE)
        self._open: dict[tuple[str, int, str], SearchIndex] = {}
        self._live: dict[str, GenerationRow] = {}
        self._kept = KeptChunks()

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
        self.drop(store_id)
        self._live.pop(store_id, None)
        self._indexes.remove_store(store_id)

    def _of_one(self, project_id: str, store_id: str, query: str | Sequence[str], options: SearchOptions) -> list[Hit]:
        while True:
            searched = self._searchable(project_id, store_id)
            reranker = self._reranker() if options.rerank else None
            try:
                generation = self._generation(store_id, searched.generation_id)
                embedder = self._embedders.named(project_id, generation.embedder)
                kept = self._kept.of(generation.id, searched.revision)
                source = SqlChunkSource(self._database, generation, just_read=searched.revision, kept=kept)
                index = self._index(generation, embedder)
                graph = SqlEntityGraph(self._database, generation) if generation.graph else None
                hits = retrieve(
                    query,
                    index=index,
                    source=source,
                    embedder=embedder,
                    options=options,
                    graph=graph,
                    reranker=reranker,
                    turn=self._turn,
                )
                index.maintain()
                return hits
            except GenerationGone:
                # It was removed under the search; the store has another one live since.
                self.drop(store_id)

    def _searchable(self, project_id: str, store_id: str) -> Searched:
        """Give a store's live generation. A search keeps to it to its end, whatever is switched meanwhile."""
        now = int(time.time())
        with self._database.connect() as connection:
            found = find_searched(connection, project_id, store_id)
        if found is None:
            raise NotFound(f"No vector store found with id {store_id!r}.")
        if is_expired(found, now):
            raise NotFound(f"The vector store {store_id!r} has expired.", code="expired")
        if found.last_active_at < now - ACTIVITY_RESOLUTION_S:
            with self._database.write() as session:
                note_activity(session, store_id, now)
        return found

    def _generation(self, store_id: str, generation_id: int) -> GenerationRow:
        """Give the row of a live generation, read once: what a search needs of it never changes."""
        known = self._live.get(store_id)
        if known is None or known.id != generation_id:
            with self._database.read() as session:
                known = session.get(GenerationRow, generation_id)
            if known is None:
                raise GenerationGone
            self._live[store_id] = known
        return known

    def _index(self, generation: GenerationRow, embedder: Embedder) -> SearchIndex:
        key = generation.store_id, generation.id, embedder.id
        if key not in self._open:
            self.drop(generation.store_id)
        # setdefault is atomic: two threads that come first together share one.
        return self._open.setdefault(key, self._indexes.open(generation, embedder))

    def drop(self, store_id: str) -> None:
        """Let go of a store's indexes in memory; those that are searched at this moment live until that is done."""
        for key in [key for key in self._open if key[0] == store_id]:
            self._open.pop(key, None)
