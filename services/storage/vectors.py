"""Vectors under the hash of their text, one for every window that has that text: none is computed twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import compress, islice

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.orm import Session

from rag.ports import VectorKey, Vectors
from services.storage.database import Database
from services.storage.encoding import checksum, encode_sentences, encode_vector
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
    """Give those of the keys that have a vector, and vectors of their sentences."""
    return {key for key, whole in _present(session, project_id, keys).items() if whole}


def add_vectors(
    session: Session, project_id: str, wanted: Sequence[Set[VectorKey]], vectors: Mapping[VectorKey, Vectors]
) -> list[bool]:
    """See that the keys have a vector, adding those that are given; a set that lacks one gets none, and False.

    Each is given as `float32 [1 + s, dimensions]`: its own, then those of its sentences.
    """
    present = _present(session, project_id, set().union(*wanted))
    there = present.keys() | vectors.keys()
    whole = [keys <= there for keys in wanted]
    needed: set[VectorKey] = set().union(*compress(wanted, whole))
    old = [key for key in needed & vectors.keys() if not present.get(key, True)]
    remove_vectors(session, project_id, old)
    rows = [_vector_values(project_id, key, vectors[key]) for key in {*needed - present.keys(), *old}]
    if rows:
        session.execute(insert(VectorRow), rows)
    return whole


def remove_vectors(session: Session, project_id: str, keys: Iterable[VectorKey]) -> None:
    """Remove vectors, whether windows use them or not: others are about to take their place."""
    for page in pages(keys):
        session.execute(delete(VectorRow).where(VectorRow.project_id == project_id, VectorRow.key.in_(page)))


def remove_unused_vectors(session: Session, project_id: str, keys: Iterable[VectorKey]) -> None:
    """Remove those of the vectors that no window uses any more."""
    used = exists().where(WindowRow.vector_key == VectorRow.key, WindowRow.project_id == project_id)
    for page in pages(keys):
        session.execute(delete(VectorRow).where(VectorRow.project_id == project_id, VectorRow.key.in_(page), ~used))


def _present(session: Session, project_id: str, keys: Iterable[VectorKey]) -> dict[VectorKey, bool]:
    """Give those of the keys that have a vector, each with whether its sentences have theirs."""
    mine = select(VectorRow.key, VectorRow.sentences.is_not(None)).where(VectorRow.project_id == project_id)
    rows = (session.execute(mine.where(VectorRow.key.in_(page))) for page in pages(keys))
    return {key: bool(whole) for page in rows for key, whole in page}


def _vector_values(project_id: str, key: VectorKey, vectors: Vectors) -> dict[str, object]:
    vector, sentences = encode_vector(vectors[0]), encode_sentences(vectors[1:])
    values = {"vector": vector, "sentences": sentences, "checksum": checksum(vector, sentences)}
    return {"project_id": project_id, "key": key, **values}


def pages(keys: Iterable[VectorKey]) -> Iterator[list[VectorKey]]:
    remaining = iter(keys)
    while page := list(islice(remaining, KEYS_PAGE)):
        yield page
