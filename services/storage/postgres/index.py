"""A generation's index inside PostgreSQL (`rag.ports.SearchIndex`): pgvector for its vectors, full text for its words.

All processes share it: whoever searches first after a change brings it to what the generation's chunks are now, a batch
a transaction, while others wait. The revision that it has followed is written last, so that what was broken off is
gone on with.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from rag.lexical import TextScores
from rag.ports import ChunkSource, IndexRow, Vectors
from rag.types import ChunkId
from services.storage.chunks import GenerationGone
from services.storage.database import Database
from services.storage.postgres import graph, rows, vectors, words
from services.storage.postgres.connection import WRITES
from services.storage.postgres.rows import State
from services.storage.postgres.tables import LOCK, IndexTables

# Raise it when what is stored or how text is analysed changes: what was made before is then made anew.
FORMAT = 1
ADD_ROWS = 1024
REMOVE_ROWS = 10_000
UNDEFINED_TABLE = "42P01"


class PostgresIndex:
    """The index of one generation. `apart` gives connections of their own, for what waits or takes long.

    Every method raises GenerationGone where its tables have been removed under it, DatabaseUnavailable.
    """

    def __init__(
        self, database: Database, apart: Engine, generation_id: int, store_id: str, *, embedder_id: str, dimensions: int
    ) -> None:
        self._database, self._apart = database, apart
        # Each statement sees what is committed then: none here needs another to have seen the same.
        self._engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._store_id, self._dimensions = store_id, dimensions
        self._tables = IndexTables(generation_id)
        self._kind = hashlib.sha256(f"{FORMAT}\0{embedder_id}\0{dimensions}".encode()).hexdigest()[:12]
        self._syncing = threading.Lock()
        self._making_graph = threading.Lock()
        self._state: State | None = None

    def sync(self, source: ChunkSource) -> None:
        if self._is_current(source.revision()):
            return
        with self._syncing, self._locked() as connection:
            # Read before the ids: a change between the two makes the next call sync again.
            revision = source.revision()
            if not self._is_current(revision):
                self._follow(connection, source)
                with connection.begin():
                    rows.write_revision(connection, self._tables, revision)
                self._is_current(revision)

    def search_vectors(
        self, query: Vectors, limit: int, within: NDArray[np.int64] | None = None
    ) -> dict[ChunkId, float]:
        state = self._synced()
        with self._asking() as connection:
            in_graph = state.vectors if state.graph else None
            return vectors.nearest(connection, self._tables, query, limit, within, in_graph=in_graph)

    def search_text(self, query: str, limit: int, within: NDArray[np.int64] | None = None) -> TextScores:
        state = self._synced()
        with self._asking() as connection:
            return words.search(connection, self._tables, state, query, limit, within)

    def maintain(self) -> None:
        state = self._synced()
        if not state.graph and state.vectors >= vectors.GRAPH_FROM and self._making_graph.acquire(blocking=False):
            threading.Thread(target=self._make_graph, name="graph", daemon=True).start()

    def check(self) -> Iterator[str]:
        with self._asking() as connection:
            yield from rows.disagreements(connection, self._tables)

    def missing(self, source: ChunkSource) -> Iterator[str]:
        """Give which chunks are here or there alone. A change of the source, once followed, is not looked for again."""
        with self._asking() as connection:
            known = rows.read_ids(connection, self._tables)
        for chunk_id in np.setxor1d(known, source.chunk_ids(), assume_unique=True).tolist():
            yield f"chunk {chunk_id}: it is {'not ' if chunk_id not in known else ''}in the index in the database"

    def _synced(self) -> State:
        assert self._state is not None, "sync comes first"
        return self._state

    def _is_current(self, revision: int) -> bool:
        with self._asking() as connection:
            self._state = rows.read_state(connection, self._tables)
        return self._state is not None and (self._state.kind, self._state.revision) == (self._kind, revision)

    def _follow(self, connection: Connection, source: ChunkSource) -> None:
        with connection.begin():
            state = rows.read_state(connection, self._tables)
            if state is None or state.kind != self._kind:
                rows.make(
                    connection, self._tables, store_id=self._store_id, kind=self._kind, dimensions=self._dimensions
                )
            known = rows.read_ids(connection, self._tables)
        live = source.chunk_ids()
        for gone in _pages(np.setdiff1d(known, live, assume_unique=True)):
            with connection.begin():
                rows.remove(connection, self._tables, gone)
        for batch in _batches(source.rows(np.setdiff1d(live, known, assume_unique=True))):
            with connection.begin():
                rows.add(connection, self._tables, batch)

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        try:
            with self._database.asked(), self._engine.connect() as connection:
                yield connection
        except ProgrammingError as exc:
            if getattr(exc.orig, "sqlstate", None) == UNDEFINED_TABLE:
                raise GenerationGone from exc
            raise

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        """Give a connection that is alone in following the source, in all processes, until it is closed."""
        with self._database.asked(), self._apart.execution_options(**WRITES).connect() as connection:
            with connection.begin():
                connection.execute(text("SET lock_timeout = 0"))
                given = {"kind": LOCK, "id": self._tables.generation_id % 2**31}
                connection.execute(text("SELECT pg_advisory_lock(:kind, :id)"), given)
            yield connection

    def _make_graph(self) -> None:
        try:
            graph.make(self._apart, self._tables)
        finally:
            self._making_graph.release()


def _batches(given: Iterator[IndexRow]) -> Iterator[list[IndexRow]]:
    while batch := list(islice(given, ADD_ROWS)):
        yield batch


def _pages(ids: NDArray[np.int64]) -> Iterator[list[int]]:
    for start in range(0, len(ids), REMOVE_ROWS):
        yield ids[start : start + REMOVE_ROWS].tolist()
