"""Vectors under the hash of their text, one for every window that has that text: none is computed twice."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.orm import Session

from rag.ingest import VectorKey
from rag.ports import Vectors
from services.storage.chunks import encode_vector
from services.storage.database import Database
from services.storage.tables import VectorRow, WindowRow

# Well below what SQLite takes as parameters of one statement.
KEYS_PAGE = 5_000


class SqlVectorCache:
    """The vectors that a project has (`rag.ingest.VectorCache`). Projects share none: a hit would tell."""

    def __init__(self, database: Database, project_id: str) -> None:
        self._database = database
        self._project_id = project_id

    def known(self, keys: Sequence[VectorKey]) -> set[VectorKey]:
        with self._database.read() as session:
            return known_keys(session, self._project_id, keys)


def known_keys(session: Session, project_id: str, keys: Iterable[VectorKey]) -> set[VectorKey]:
    """Give those of the keys that have a vector."""
    mine = select(VectorRow.key).where(VectorRow.project_id == project_id)
    return {key for page in pages(keys) for key in session.scalars(mine.where(VectorRow.key.in_(page)))}


def add_vectors(session: Session, project_id: str, keys: Set[VectorKey], vectors: Mapping[VectorKey, Vectors]) -> bool:
    """See that all the keys have a vector, adding those that are given; False when one is missing."""
    wanted = keys - known_keys(session, project_id, keys)
    if not wanted <= vectors.keys():
        return False
    rows = [_vector_values(project_id, key, encode_vector(vectors[key])) for key in wanted]
    if rows:
        session.execute(insert(VectorRow), rows)
    return True


def remove_vectors(session: Session, project_id: str, keys: Iterable[VectorKey]) -> None:
    """Remove vectors, whether windows use them or not: others are about to take their place."""
    for page in pages(keys):
        session.execute(delete(VectorRow).where(VectorRow.project_id == project_id, VectorRow.key.in_(page)))


def remove_unused_vectors(session: Session, project_id: str, keys: Iterable[VectorKey]) -> None:
    """Remove those of the vectors that no window uses any more."""
    used = exists().where(WindowRow.vector_key == VectorRow.key, WindowRow.project_id == project_id)
    for page in pages(keys):
        session.execute(delete(VectorRow).where(VectorRow.project_id == project_id, VectorRow.key.in_(page), ~used))


def _vector_values(project_id: str, key: VectorKey, vector: bytes) -> dict[str, object]:
    return {"project_id": project_id, "key": key, "vector": vector, "checksum": zlib.crc32(vector)}


def pages(keys: Iterable[VectorKey]) -> Iterator[list[VectorKey]]:
    remaining = iter(keys)
    while page := list(islice(remaining, KEYS_PAGE)):
        yield page
