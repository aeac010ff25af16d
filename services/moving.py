"""Moving a vector store to another embedder: new vectors beside the live ones first, then all at once.

Searches use the old vectors until the switch, which is one transaction. Whatever ends a move before that leaves the
store as it was, and what was embedded by then is used when the move is begun again.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rag.ingest import WINDOWS_AT_ONCE, VectorKey, vector_key
from rag.ports import Embedder
from services.errors import BadRequest, NotFound
from services.storage.database import Database
from services.storage.vector_stores import find_store
from services.storage.vectors import add_vectors, known_keys
from services.storage.windows import WindowId, documents_with_windows, switch_vectors, window_ids, window_texts

FLOAT_BYTES = 4

log = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[int, int], None]
"""Told how many windows have their new vector, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A move that is done: the windows of the store, and how many of them had to be embedded."""

    windows: int
    embedded: int


def move_store(
    database: Database,
    project_id: str,
    store_id: str,
    embedder: Embedder,
    *,
    name: str,
    tell: Tell = lambda done, total: None,
) -> Moved:
    """Make a store's vectors anew with an embedder, to be named `name` by the store, and switch to them.

    Raises NotFound, and BadRequest where the embedder reads too little of a window at once.
    """
    move = _Move(database, project_id, store_id, embedder, tell)
    while not move.switched(name):
        move.embed_missing()
    log.info("store_moved store_id=%s embedder=%s windows=%d", store_id, name, len(move.keys))
    return Moved(windows=len(move.keys), embedded=move.embedded)


class _Move:
    """One move. `keys` holds the new vector's key of each window that has one."""

    def __init__(self, database: Database, project_id: str, store_id: str, embedder: Embedder, tell: Tell) -> None:
        self._database, self._project_id, self._store_id = database, project_id, store_id
        self._embedder, self._tell = embedder, tell
        self.keys: dict[WindowId, VectorKey] = {}
        self.embedded = 0

    def switched(self, name: str) -> bool:
        """Switch, unless a window lacks its vector: documents come and go while others are embedded."""
        with self._database.write() as session:
            store = find_store(session, self._project_id, self._store_id)
            if store is None:
                raise NotFound(f"No vector store found with id {self._store_id!r}.")
            vector_bytes = self._embedder.dimensions * FLOAT_BYTES
            return switch_vectors(session, store, self.keys, embedder=name, vector_bytes=vector_bytes)

    def embed_missing(self) -> None:
        """Give every window that is there now its vector, those of several documents together."""
        with self._database.read() as session:
            present = window_ids(session, self._store_id)
            documents = documents_with_windows(session, self._store_id)
        self.keys = {window: key for window, key in self.keys.items() if window in present}
        pending: dict[VectorKey, str] = {}
        for seq in documents:
            with self._database.read() as session:
                texts = window_texts(session, seq)
            keys = {window: vector_key(self._embedder.id, text) for window, text in texts.items()}
            pending |= {keys[window]: text for window, text in texts.items()}
            self.keys |= keys
            if len(pending) >= WINDOWS_AT_ONCE:
                self._embed(pending)
                pending.clear()
                self._tell(len(self.keys), len(present))
        self._embed(pending)
        self._tell(len(self.keys), len(present))

    def _embed(self, texts: Mapping[VectorKey, str]) -> None:
        with self._database.read() as session:
            known = known_keys(session, self._project_id, texts)
        wanted = [key for key in texts if key not in known]
        for start in range(0, len(wanted), WINDOWS_AT_ONCE):
            some = wanted[start : start + WINDOWS_AT_ONCE]
            self._check([texts[key] for key in some])
            vectors = dict(zip(some, self._embedder.embed([texts[key] for key in some]), strict=True))
            with self._database.write() as session:
                add_vectors(session, self._project_id, vectors.keys(), vectors)
            self.embedded += len(some)

    def _check(self, texts: list[str]) -> None:
        """A text that is cut would be found by its beginning alone, and nobody would know."""
        encoded = self._embedder.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        longest = max(map(len, encoded))
        if longest > self._embedder.max_tokens:
            raise BadRequest(
                f"{self._embedder.name!r} reads {self._embedder.max_tokens} tokens at once, and the store holds pieces "
                f"of {longest}: make a new store with this embedder and ingest the files into it.",
                param="embedder",
            )
