"""The rows of a generation's index: what there is, what comes and what goes, in the caller's transaction."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from rag.lexical import indexed_text, terms_of
from rag.ports import IndexRow
from services.storage.postgres.tables import INDEXES, IndexTables
from services.storage.postgres.vectors import as_halfvec
from services.storage.postgres.words import as_tsvector


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An index as its own row tells it. `kind` is what it was made by, `revision` the one that it has followed.

    `chunks`, `words` and `vectors` are how many there are; `graph` is whether there is one of the vectors, whole.
    """

    kind: str
    revision: int
    chunks: int
    words: int
    vectors: int
    graph: bool


def read_state(connection: Connection, tables: IndexTables) -> State | None:
    graph = "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:graph) AND indisvalid) AS graph"
    state = text(f"SELECT kind, revision, chunks, words, vectors, {graph} FROM {INDEXES} WHERE generation_id = :id")
    row = connection.execute(state, {"id": tables.generation_id, "graph": tables.graph}).one_or_none()
    return None if row is None else State(**row._mapping)


def make(connection: Connection, tables: IndexTables, *, store_id: str, kind: str, dimensions: int) -> None:
    """Make the tables, empty, in place of what there is."""
    for statement in (*tables.remove(), *tables.make(dimensions)):
        connection.execute(text(statement))
    given = {"id": tables.generation_id, "store_id": store_id, "kind": kind}
    connection.execute(text(f"INSERT INTO {INDEXES} VALUES (:id, :store_id, :kind, -1, 0, 0, 0)"), given)


def remove_all(connection: Connection, tables: IndexTables) -> None:
    for statement in tables.remove():
        connection.execute(text(statement))


def read_ids(connection: Connection, tables: IndexTables) -> NDArray[np.int64]:
    """Give the ids of all indexed chunks, ascending."""
    found = connection.execute(text(f"SELECT chunk_id FROM {tables.chunks} ORDER BY chunk_id"))
    return np.array(found.scalars().all(), dtype=np.int64)


def write_revision(connection: Connection, tables: IndexTables, revision: int) -> None:
    followed = text(f"UPDATE {INDEXES} SET revision = :revision WHERE generation_id = :id")
    connection.execute(followed, {"revision": revision, "id": tables.generation_id})


def disagreements(connection: Connection, tables: IndexTables) -> Iterator[str]:
    """Give what the tables of an index say otherwise than each other."""
    of_chunks = f"SELECT term, count(*) FROM {tables.chunks}, unnest(tsvector_to_array(terms)) AS term GROUP BY term"
    of_terms = f"SELECT term, chunks FROM {tables.terms}"
    looks = {
        "chunks have no vector": f"SELECT chunk_id FROM {tables.chunks} EXCEPT SELECT chunk_id FROM {tables.vectors}",
        "vectors have no chunk": f"SELECT chunk_id FROM {tables.vectors} EXCEPT SELECT chunk_id FROM {tables.chunks}",
        "terms are miscounted": f"({of_chunks} EXCEPT {of_terms}) UNION ({of_terms} EXCEPT {of_chunks})",
    }
    for says, look in looks.items():
        if count := connection.execute(text(f"SELECT count(*) FROM ({look}) AS found")).scalar():
            yield f"the index in the database: {count} {says}"
    counted = f"SELECT count(*), coalesce(sum(words), 0), (SELECT count(*) FROM {tables.vectors}) FROM {tables.chunks}"
    state = read_state(connection, tables)
    if state and (state.chunks, state.words, state.vectors) != tuple(connection.execute(text(counted)).one()):
        yield "the index in the database: its chunks, words or vectors are miscounted"


def add(connection: Connection, tables: IndexTables, rows: Sequence[IndexRow]) -> None:
    """Add chunks, of which none is there."""
    counted = [Counter(terms_of(indexed_text(row))) for row in rows]
    found = zip(rows, counted, strict=True)
    _copy(connection, tables.chunks, ((row.chunk_id, each.total(), as_tsvector(each)) for row, each in found))
    windows = ((row.chunk_id, number, as_halfvec(one)) for row in rows for number, one in enumerate(row.vectors))
    _copy(connection, tables.vectors, windows)
    _count_terms(connection, tables, Counter(term for each in counted for term in each))
    words, vectors = sum(each.total() for each in counted), sum(len(row.vectors) for row in rows)
    _count(connection, tables, chunks=len(rows), words=words, vectors=vectors)


def remove(connection: Connection, tables: IndexTables, gone: Sequence[int]) -> None:
    """Remove chunks, whichever of them are there."""
    given = {"gone": list(gone)}
    of_terms = (
        f"SELECT term, count(*) AS chunks FROM {tables.chunks}, unnest(tsvector_to_array(terms)) AS term "
        "WHERE chunk_id = ANY(:gone) GROUP BY term"
    )
    fewer = f"UPDATE {tables.terms} AS known SET chunks = known.chunks - less.chunks FROM ({of_terms}) AS less"
    connection.execute(text(f"{fewer} WHERE known.term = less.term"), given)
    connection.execute(text(f"DELETE FROM {tables.terms} WHERE chunks <= 0"))
    windows = connection.execute(text(f"DELETE FROM {tables.vectors} WHERE chunk_id = ANY(:gone)"), given)
    chunks = text(f"DELETE FROM {tables.chunks} WHERE chunk_id = ANY(:gone) RETURNING words")
    lengths = connection.execute(chunks, given).scalars().all()
    _count(connection, tables, chunks=-len(lengths), words=-sum(lengths), vectors=-windows.rowcount)


def _count(connection: Connection, tables: IndexTables, **more: int) -> None:
    """Count what came or went. Until a revision is written again, none is followed whole."""
    changes = ", ".join(f"{name} = {name} + :{name}" for name in more)
    counted = text(f"UPDATE {INDEXES} SET revision = -1, {changes} WHERE generation_id = :id")
    connection.execute(counted, more | {"id": tables.generation_id})


def _count_terms(connection: Connection, tables: IndexTables, found: Counter[str]) -> None:
    more = "SELECT * FROM unnest(CAST(:terms AS text[]), CAST(:counts AS bigint[]))"
    known = f"INSERT INTO {tables.terms} AS known {more} ON CONFLICT (term)"
    statement = text(f"{known} DO UPDATE SET chunks = known.chunks + excluded.chunks")
    connection.execute(statement, {"terms": list(found), "counts": list(found.values())})


def _copy(connection: Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
