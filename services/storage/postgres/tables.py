"""The tables of one generation's index in PostgreSQL, in a schema of their own: all in it is derived.

A generation has tables of its own, so that no store's size, words or removals are felt by another's searches:

    chunks_N    what is found: a chunk's terms as a tsvector, each term with as many positions as it has places
    vectors_N   a chunk's windows as halfvec
    terms_N     how many chunks have a term
    indexes     one row a generation: what it was made by, and the revision of its chunks that it has followed
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

# The first of the two numbers of a lock; the second is the generation.
LOCK = 0x6C6F6101
SCHEMA = "loam_index"
INDEXES = f"{SCHEMA}.indexes"
MAKE_SCHEMA = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {INDEXES} (generation_id bigint PRIMARY KEY, store_id text NOT NULL,"
    " kind text NOT NULL, revision bigint NOT NULL, chunks bigint NOT NULL, words bigint NOT NULL,"
    " vectors bigint NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class IndexTables:
    """The names of a generation's tables."""

    generation_id: int

    @property
    def chunks(self) -> str:
        return f"{SCHEMA}.chunks_{self.generation_id}"

    @property
    def vectors(self) -> str:
        return f"{SCHEMA}.vectors_{self.generation_id}"

    @property
    def terms(self) -> str:
        return f"{SCHEMA}.terms_{self.generation_id}"

    @property
    def graph(self) -> str:
        """The HNSW graph over the vectors, where they are many."""
        return f"{SCHEMA}.graph_{self.generation_id}"

    def lock(self, connection: Connection) -> None:
        """Be alone in changing them, in all processes, until the transaction ends."""
        given = {"kind": LOCK, "id": self.generation_id % 2**31}
        connection.execute(text("SELECT pg_advisory_xact_lock(:kind, :id)"), given)

    def make(self, dimensions: int) -> Iterator[str]:
        """Give the statements that make them, empty."""
        yield f"CREATE TABLE {self.chunks} (chunk_id bigint PRIMARY KEY, words integer NOT NULL, terms tsvector)"
        yield f"CREATE INDEX ON {self.chunks} USING gin (terms)"
        yield (
            f"CREATE TABLE {self.vectors} (chunk_id bigint, ordinal integer, vector halfvec({dimensions}) NOT NULL,"
            " PRIMARY KEY (chunk_id, ordinal))"
        )
        yield f'CREATE TABLE {self.terms} (term text COLLATE "C" PRIMARY KEY, chunks bigint NOT NULL)'

    def remove(self) -> Iterator[str]:
        """Give the statements that remove them, whichever are there."""
        for table in (self.chunks, self.vectors, self.terms):
            yield f"DROP TABLE IF EXISTS {table}"
        yield f"DELETE FROM {INDEXES} WHERE generation_id = {self.generation_id}"
