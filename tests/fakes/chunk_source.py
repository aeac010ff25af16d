"""A store's chunks in memory: what the database gives the indexes, without a database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rag.filters import matches
from rag.ports import ChunkVectors, Filter, IndexRow, Vectors
from rag.types import AttributeValue, ChunkId, Passage


@dataclass
class MemorySource:
    """A ChunkSource to add to and remove from; `rows_read` counts what indexing has asked for."""

    chunks: dict[ChunkId, tuple[IndexRow, Passage]] = field(default_factory=dict)
    sentences: dict[ChunkId, Vectors] = field(default_factory=dict)
    changes: int = 0
    rows_read: int = 0

    def add(
        self,
        chunk_id: int,
        text: str,
        vectors: Vectors,
        *,
        title: str = "",
        heading_path: tuple[str, ...] = (),
        sentences: Vectors | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        id_ = ChunkId(chunk_id)
        row = IndexRow(chunk_id=id_, title=title, heading_path=heading_path, text=text, vectors=np.atleast_2d(vectors))
        passage = Passage(
            chunk_id=id_,
            file_id=f"file-{chunk_id}",
            filename=f"{chunk_id}.txt",
            text=text,
            start=0,
            end=len(text),
            title=title,
            heading_path=heading_path,
            attributes=attributes or {},
        )
        self.chunks[id_] = (row, passage)
        self.sentences[id_] = np.empty((0, row.vectors.shape[1]), np.float32) if sentences is None else sentences
        self.changes += 1

    def remove(self, chunk_id: int) -> None:
        del self.chunks[ChunkId(chunk_id)]
        self.changes += 1

    def revision(self) -> int:
        return self.changes

    def chunk_ids(self) -> NDArray[np.int64]:
        return np.array(sorted(self.chunks), dtype=np.int64)

    def rows(self, chunk_ids: NDArray[np.int64]) -> Iterator[IndexRow]:
        for chunk_id in sorted(chunk_ids.tolist()):
            if chunk_id in self.chunks:
                self.rows_read += 1
                yield self.chunks[chunk_id][0]

    def passages(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Passage]:
        return {chunk_id: self.chunks[chunk_id][1] for chunk_id in chunk_ids if chunk_id in self.chunks}

    def vectors(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, ChunkVectors]:
        return {
            chunk_id: ChunkVectors(windows=self.chunks[chunk_id][0].vectors, sentences=self.sentences[chunk_id])
            for chunk_id in chunk_ids
            if chunk_id in self.chunks
        }

    def matching(self, filters: Filter) -> NDArray[np.int64]:
        found = [id_ for id_, (_, passage) in self.chunks.items() if matches(filters, passage.attributes)]
        return np.array(sorted(found), dtype=np.int64)
