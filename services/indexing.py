"""Putting documents into a generation of a store's index, from the texts that are kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from rag.ingest import Kept, Outcome, Rejected, reindex
from rag.ports import Embedder, VectorCache
from services.errors import ServiceError
from services.graphing import Drawing
from services.storage.database import Database
from services.storage.documents import index_document, read_document
from services.storage.generations import strategy_of
from services.storage.tables import DocumentRow, GenerationRow
from services.storage.vectors import remove_vectors

FLOAT_BYTES = 4


class NotIndexed(ServiceError):
    """A document cannot be put into a generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """One generation that is filled. `guard` gives its row in a transaction that writes, or raises.

    What `cache` does not know is embedded and replaces what the database may have in its place.
    """

    database: Database
    generation: GenerationRow
    embedder: Embedder
    cache: VectorCache
    drawing: Drawing
    guard: Callable[[Session], GenerationRow]
    checkpoint: Callable[[], None] = lambda: None

    def put(self, seqs: Sequence[int]) -> None:
        """Put in what these documents hold now, each whole; one that changes meanwhile is left out."""
        kept = self._kept(seqs)
        for done in reindex(kept, embedder=self.embedder, cache=self.cache, checkpoint=self.checkpoint):
            self._settle(self.drawing.draw(self.generation.project_id, done, self._has_graph, self.checkpoint))

    def _has_graph(self, _seq: int) -> bool:
        return self.generation.graph

    def _kept(self, seqs: Sequence[int]) -> Iterator[Kept[int]]:
        for seq in seqs:
            self.checkpoint()
            if (kept := self._read(seq)) is not None:
                yield kept

    def _read(self, seq: int) -> Kept[int] | None:
        with self.database.read() as session:
            row, document = session.get(DocumentRow, seq), read_document(session, seq)
            if row is None or document is None:
                return None
            return Kept(ref=seq, document=document, strategy=strategy_of(row, self.generation))

    def _settle(self, done: Sequence[Outcome[int]]) -> None:
        """Write what is finished, and one commit for all."""
        with self.database.write() as session:
            generation = self.guard(session)
            for outcome in done:
                self._write(session, generation, outcome)

    def _write(self, session: Session, generation: GenerationRow, outcome: Outcome[int]) -> None:
        if isinstance(outcome, Rejected):
            document = session.get(DocumentRow, outcome.ref)
            name = document.filename if document else f"document {outcome.ref}"
            raise NotIndexed(f"{name!r} cannot be cut and embedded: {outcome.error}")
        remove_vectors(session, generation.project_id, outcome.vectors)
        # What could not be put in is still missing, and looked for again.
        vector_bytes = self.embedder.dimensions * FLOAT_BYTES
        index_document(session, generation, outcome.ref, outcome, vector_bytes=vector_bytes)
