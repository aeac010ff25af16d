"""A generation's chunks as its indexes read them. Plain SQL: a start reads every chunk that is new."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, bindparam, select

from rag.ports import ChunkVectors, Filter, IndexRow
from rag.types import ChunkId, Passage
from services.storage.attributes import matching_documents, read_attributes
from services.storage.database import Database
from services.storage.encoding import decode_sentences, decode_vector
from services.storage.kept_chunks import KeptOfRevision, KeptPassage
from services.storage.tables import (
    ChunkRow,
    DocumentRow,
    DocumentTextRow,
    GenerationRow,
    GenerationState,
    VectorRow,
    WindowRow,
)

ROWS_PAGE = 500

_GENERATION = select(GenerationRow.revision).where(
    GenerationRow.id == bindparam("generation_id"), GenerationRow.state != GenerationState.REMOVED
)
_STILL_THERE = (
    select(GenerationRow.id)
    .where(GenerationRow.id == bindparam("generation_id"), GenerationRow.state != GenerationState.REMOVED)
    .exists()
)
_CHUNK_IDS = select(ChunkRow.id).where(ChunkRow.generation_id == bindparam("generation_id")).order_by(ChunkRow.id)
_WITH_DOCUMENTS = (
    select(ChunkRow.id, DocumentRow.filename, DocumentTextRow.title, ChunkRow.heading_path, ChunkRow.text)
    .join(DocumentRow, DocumentRow.seq == ChunkRow.document_seq)
    .join(DocumentTextRow, DocumentTextRow.document_seq == ChunkRow.document_seq)
    .where(ChunkRow.generation_id == bindparam("generation_id"), ChunkRow.id.in_(bindparam("ids", expanding=True)))
    .order_by(ChunkRow.id)
)
_PASSAGES = _WITH_DOCUMENTS.add_columns(
    DocumentRow.file_id, ChunkRow.document_seq, ChunkRow.start, ChunkRow.end, ChunkRow.page
).where(_STILL_THERE)
_VECTORS = (
    select(WindowRow.chunk_id, VectorRow.vector, VectorRow.sentences)
    .join(VectorRow, (VectorRow.project_id == WindowRow.project_id) & (VectorRow.key == WindowRow.vector_key))
    .where(WindowRow.chunk_id.in_(bindparam("ids", expanding=True)))
    .order_by(WindowRow.chunk_id, WindowRow.ordinal)
)
_CANDIDATES = _VECTORS.where(_STILL_THERE)


class GenerationGone(Exception):
    """A generation has been removed. Ask again which one is live."""


class SqlChunkSource:
    """The chunks of one generation (`rag.ports.ChunkSource`); each call sees what is committed then.

    Every method but `chunk_ids` and `matching` raises GenerationGone once the generation is being removed, unless all
    that is asked for is kept: nobody is given half of one.
    """

    def __init__(
        self,
        database: Database,
        generation: GenerationRow,
        *,
        just_read: int | None = None,
        kept: KeptOfRevision | None = None,
    ) -> None:
        """`just_read` is the generation's revision where it has been read a moment ago: who asks first is given it.

        What is in `kept` is given as it was then, and what is read is added to it.
        """
        self._database = database
        self._kept = kept
        self._generation_id, self._store_id = generation.id, generation.store_id
        self._sentences = generation.sentences
        self._just_read = just_read

    def revision(self) -> int:
        just_read, self._just_read = self._just_read, None
        if just_read is not None:
            return just_read
        with self._database.connect() as connection:
            return self._revision(connection)

    def chunk_ids(self) -> NDArray[np.int64]:
        with self._database.connect() as connection:
            found = connection.execute(_CHUNK_IDS, {"generation_id": self._generation_id}).scalars().all()
        return np.array(found, dtype=np.int64)

    def rows(self, chunk_ids: NDArray[np.int64]) -> Iterator[IndexRow]:
        wanted = np.sort(chunk_ids).tolist()
        for start in range(0, len(wanted), ROWS_PAGE):
            # A page is read in one snapshot, and no transaction is open while the caller works on it.
            with self._database.connect() as connection:
                page = self._page(connection, wanted[start : start + ROWS_PAGE])
            yield from page

    def passages(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Passage]:
        found = self._kept.passages(chunk_ids) if self._kept else {}
        unread = [one for one in chunk_ids if one not in found]
        with self._database.connect() as connection:
            rows = self._unless_gone(connection, _PASSAGES, unread) if unread else []
            read = {ChunkId(row.id): KeptPassage(passage=_passage(row), document_seq=row.document_seq) for row in rows}
            found |= read
            attributes = read_attributes(connection, {one.document_seq for one in found.values()})
        if self._kept:
            self._kept.add_passages(read)
        return {
            one: replace(kept.passage, attributes=attributes[kept.document_seq])
            if kept.document_seq in attributes
            else kept.passage
            for one, kept in sorted(found.items())
        }

    def vectors(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, ChunkVectors]:
        found = self._kept.vectors(chunk_ids) if self._kept else {}
        unread = [one for one in chunk_ids if one not in found]
        read = self._read_vectors(unread) if unread else {}
        if self._kept:
            self._kept.add_vectors(read)
        return dict(sorted((found | read).items()))

    def _read_vectors(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, ChunkVectors]:
        with self._database.connect() as connection:
            rows = self._unless_gone(connection, _CANDIDATES, chunk_ids)
        if not rows:
            return {}
        # All together, since every search asks for fifty: one by one they took a quarter of its time.
        windows = decode_vector(b"".join(row.vector for row in rows)).reshape(len(rows), -1)
        stored = [(row.sentences or b"") if self._sentences else b"" for row in rows]
        sentences = decode_sentences(b"".join(stored), windows.shape[1])
        ends = list(accumulate((len(one) // windows.shape[1] for one in stored), initial=0))
        begin = [place for place, row in enumerate(rows) if not place or row.chunk_id != rows[place - 1].chunk_id]
        return {
            ChunkId(rows[first].chunk_id): ChunkVectors(
                windows=windows[first:last], sentences=sentences[ends[first] : ends[last]]
            )
            for first, last in pairwise([*begin, len(rows)])
        }

    def matching(self, filters: Filter) -> NDArray[np.int64]:
        documents = matching_documents(self._store_id, filters, self._database.engine.dialect.name)
        mine = ChunkRow.generation_id == self._generation_id
        statement = select(ChunkRow.id).where(mine, ChunkRow.document_seq.in_(documents))
        with self._database.connect() as connection:
            return np.array(connection.execute(statement.order_by(ChunkRow.id)).scalars().all(), dtype=np.int64)

    def _unless_gone(
        self, connection: Connection, statement: Select[*tuple[Any, ...]], ids: Sequence[ChunkId]
    ) -> Sequence[Row[Any]]:
        """Read rows of chunks by a statement that gives none where the generation is gone."""
        rows = connection.execute(statement, self._named(ids)).all()
        if not rows:
            self._revision(connection)
        return rows

    def _revision(self, connection: Connection) -> int:
        revision = connection.execute(_GENERATION, {"generation_id": self._generation_id}).scalar()
        if revision is None:
            raise GenerationGone
        return int(revision)

    def _named(self, chunk_ids: Sequence[int]) -> dict[str, Any]:
        return {"generation_id": self._generation_id, "ids": list(chunk_ids)}

    def _page(self, connection: Connection, ids: Sequence[int]) -> list[IndexRow]:
        found = connection.execute(_VECTORS, {"ids": ids})
        vectors = {
            chunk_id: np.stack([decode_vector(row.vector) for row in windows])
            for chunk_id, windows in groupby(found, key=lambda row: row.chunk_id)
        }
        rows = connection.execute(_WITH_DOCUMENTS, self._named(ids)).all()
        self._revision(connection)
        return [
            IndexRow(
                chunk_id=ChunkId(row.id),
                title=row.title or row.filename,
                heading_path=tuple(row.heading_path),
                text=row.text,
                vectors=vectors[row.id],
            )
            for row in rows
            if row.id in vectors
        ]


def _passage(row: Row[Any]) -> Passage:
    return Passage(
        chunk_id=ChunkId(row.id),
        file_id=row.file_id,
        filename=row.filename,
        text=row.text,
        start=row.start,
        end=row.end,
        page=row.page,
        heading_path=tuple(row.heading_path),
        title=row.title,
    )
