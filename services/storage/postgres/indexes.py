"""Indexes that are kept in PostgreSQL (`services.indexes.Indexes`): every process on every machine has the same."""

from collections.abc import Iterator

from sqlalchemy import text

from rag import verify
from rag.ports import ChunkSource, Embedder
from services.errors import InvalidSettings
from services.indexes import Wanted
from services.storage.database import Database
from services.storage.postgres.connection import WRITES, open_engine
from services.storage.postgres.index import PostgresIndex
from services.storage.postgres.tables import INDEXES, MAKE_SCHEMA, IndexTables
from services.storage.tables import GenerationRow


def pgvector_version(database: Database) -> str | None:
    """Give the version of pgvector that the database has or could be given; None where there is none."""
    found = text(
        "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'"
    )
    with database.connect() as connection:
        version: str | None = connection.execute(found).scalar()
    return version


class PostgresIndexes:
    """The indexes of all generations, in a schema of their own beside what they are derived from."""

    def __init__(self, database: Database) -> None:
        """Make the schema if it is not there. Raises InvalidSettings where pgvector is missing, DatabaseUnavailable."""
        if pgvector_version(database) is None:
            raise InvalidSettings("LOAM_INDEXES is database, and this PostgreSQL has no pgvector: install it there.")
        self._database = database
        self._apart = open_engine(database.url, pooled=False)
        with database.write() as session:
            for statement in MAKE_SCHEMA:
                session.execute(text(statement))

    def open(self, generation: GenerationRow, embedder: Embedder) -> PostgresIndex:
        return PostgresIndex(
            self._database,
            self._apart,
            generation.id,
            generation.store_id,
            embedder_id=embedder.id,
            dimensions=embedder.dimensions,
        )

    def faults(self, generation: GenerationRow, embedder: Embedder, source: ChunkSource) -> Iterator[str]:
        index = self.open(generation, embedder)
        index.sync(source)
        yield from index.missing(source)
        yield from verify.check_index(index, source)

    def remove_damaged(self, generation: GenerationRow) -> None:
        """The database tells of its own damage."""

    def clear(self, generation: GenerationRow) -> None:
        self._drop(generation.id)

    def remove(self, generation: GenerationRow) -> None:
        self._drop(generation.id)

    def remove_store(self, store_id: str) -> None:
        for known_store, generation_id in self._known():
            if known_store == store_id:
                self._drop(generation_id)

    def tidy(self, wanted: Wanted, *, before: float) -> None:
        """Whatever is of no generation goes: a generation is there before its index."""
        known, generations = self._known(), wanted()
        for store_id, generation_id in known:
            if generation_id not in generations.get(store_id, ()):
                self._drop(generation_id)

    def _known(self) -> list[tuple[str, int]]:
        with self._database.connect() as connection:
            found = connection.execute(text(f"SELECT store_id, generation_id FROM {INDEXES}"))
            return [(store_id, generation_id) for store_id, generation_id in found]

    def _drop(self, generation_id: int) -> None:
        tables = IndexTables(generation_id)
        with (
            self._database.asked(),
            self._apart.connect().execution_options(**WRITES) as connection,
            connection.begin(),
        ):
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            tables.lock(connection)
            for statement in tables.remove():
                connection.execute(text(statement))
