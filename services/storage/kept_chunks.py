"""Chunks that searches have read, kept in memory: a store's questions come back to the same passages."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from rag.ports import ChunkVectors
from rag.types import ChunkId, Passage

# Some 20 kB each, with the vectors of a dozen sentences.
MOST_CHUNKS = 2_048

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPassage:
    """A passage without its attributes, which change, and the document that has them."""

    passage: Passage
    document_seq: int


class KeptChunks:
    """The chunks read last, of all generations; any number of threads may use it."""

    def __init__(self, most: int = MOST_CHUNKS) -> None:
        self._vectors: _Recent[ChunkVectors] = _Recent(most)
        self._passages: _Recent[KeptPassage] = _Recent(most)

    def of(self, generation_id: int, revision: int) -> "KeptOfRevision":
        """Give those of a generation as of a revision: what another one changed is read again."""
        return KeptOfRevision(self._vectors, self._passages, generation_id, revision)


class KeptOfRevision:
    """Chunks of one generation at one revision."""

    def __init__(
        self, vectors: "_Recent[ChunkVectors]", passages: "_Recent[KeptPassage]", generation_id: int, revision: int
    ) -> None:
        self._vectors, self._passages, self._of = vectors, passages, (generation_id, revision)

    def vectors(self, ids: Iterable[ChunkId]) -> dict[ChunkId, ChunkVectors]:
        return self._vectors.found(self._of, ids)

    def add_vectors(self, read: Mapping[ChunkId, ChunkVectors]) -> None:
        # Copies: what is read is part of what was read with it, and would keep all of that.
        mine = {
            one: ChunkVectors(windows=each.windows.copy(), sentences=each.sentences.copy())
            for one, each in read.items()
        }
        self._vectors.add(self._of, mine)

    def passages(self, ids: Iterable[ChunkId]) -> dict[ChunkId, KeptPassage]:
        return self._passages.found(self._of, ids)

    def add_passages(self, read: Mapping[ChunkId, KeptPassage]) -> None:
        self._passages.add(self._of, read)


class _Recent(Generic[Kept]):
    """The `most` things used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[tuple[int, int], ChunkId], Kept] = OrderedDict()
        self._lock = Lock()

    def found(self, of: tuple[int, int], ids: Iterable[ChunkId]) -> dict[ChunkId, Kept]:
        found = {}
        with self._lock:
            for one in ids:
                if (kept := self._kept.get((of, one))) is not None:
                    self._kept.move_to_end((of, one))
                    found[one] = kept
        return found

    def add(self, of: tuple[int, int], kept: Mapping[ChunkId, Kept]) -> None:
        with self._lock:
            self._kept.update(((of, one), each) for one, each in kept.items())
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
