"""Generations of a store's index: what they may become, and what is asked of them.

A new one is made beside the live one, by a job, from the texts that are kept; searches see the live one until the
switch, which is one transaction. What was live before is kept to go back to.
"""

import threading
from dataclasses import dataclass, replace

from sqlalchemy import event
from sqlalchemy.orm import Session

from rag.chunk import ChunkingStrategy
from services.errors import BadRequest
from services.jobs import queue
from services.jobs.job import INDEX
from services.storage.database import Database
from services.storage.generations import (
    add_generation,
    chunking_of,
    generation_being_made,
    last_retired,
    list_generations,
    live_generation,
)
from services.storage.tables import GenerationRow, GenerationState, VectorStoreRow

TRANSITIONS: dict[GenerationState, frozenset[GenerationState]] = {
    GenerationState.BUILDING: frozenset(
        {GenerationState.READY, GenerationState.FAILED, GenerationState.RETIRED, GenerationState.REMOVED}
    ),
    GenerationState.READY: frozenset(
        {GenerationState.LIVE, GenerationState.BUILDING, GenerationState.RETIRED, GenerationState.REMOVED}
    ),
    GenerationState.LIVE: frozenset({GenerationState.RETIRED}),
    GenerationState.RETIRED: frozenset({GenerationState.BUILDING, GenerationState.REMOVED}),
    GenerationState.FAILED: frozenset({GenerationState.BUILDING, GenerationState.REMOVED}),
    GenerationState.REMOVED: frozenset(),
}


def move(generation: GenerationRow, state: GenerationState) -> None:
    """Change a generation's state. Raises ValueError for a way that is not there."""
    if state not in TRANSITIONS[GenerationState(generation.state)]:
        raise ValueError(f"A generation that is {generation.state} cannot become {state}.")
    generation.state = state


class Generations:
    """Begins generations and calls them off. `bell` is rung when there is a job, for a worker of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.bell = threading.Event()

    def begin(
        self,
        session: Session,
        store: VectorStoreRow,
        *,
        embedder: str | None = None,
        chunking: ChunkingStrategy | None = None,
        graph: bool | None = None,
        owner: str | None = None,
    ) -> GenerationRow | None:
        """Have a store's index made with what is given and else as it is; None where it is so already.

        One that an earlier loam made is never so: it lacks vectors of its sentences.
        One that is there and made so, failed or retired, is gone on with. `owner` alone does the job while it lives.
        Raises BadRequest while another is being made.
        """
        live = live_generation(session, store.id)
        wanted = _Made(
            embedder=embedder or live.embedder,
            chunking=chunking or chunking_of(live),
            graph=live.graph if graph is None else graph,
        )
        if (building := generation_being_made(session, store.id)) is not None:
            if _made_of(building) != wanted:
                raise _busy(store, building)
            return self._enqueue(session, building, owner)
        if _made_of(live) == wanted:
            return None
        alike = [one for one in list_generations(session, store.id) if _made_of(one) == wanted]
        if alike:
            return self._go_on(session, alike[-1], owner)
        made = add_generation(
            session,
            store,
            embedder=wanted.embedder,
            chunking=wanted.chunking,
            graph=wanted.graph,
            state=GenerationState.BUILDING,
        )
        return self._enqueue(session, made, owner)

    def roll_back(self, session: Session, store: VectorStoreRow, *, owner: str | None = None) -> GenerationRow:
        """Have the generation that was live before brought up to date and made live. Raises BadRequest."""
        building = generation_being_made(session, store.id)
        if building is not None and building.turn is None:
            raise _busy(store, building)
        if building is not None:
            return self._enqueue(session, building, owner)
        before = last_retired(session, store.id)
        if before is None:
            raise BadRequest(f"The vector store {store.name or store.id!r} has no generation to go back to.")
        return self._go_on(session, before, owner)

    def cancel(self, session: Session, store: VectorStoreRow) -> GenerationRow:
        """Stop the making of a generation; nothing of it is left, unless it was live before. Raises BadRequest."""
        building = generation_being_made(session, store.id)
        if building is None:
            raise BadRequest(f"No index of the vector store {store.name or store.id!r} is being made.")
        queue.cancel(session, INDEX, [str(building.id)])
        move(building, GenerationState.REMOVED if building.turn is None else GenerationState.RETIRED)
        event.listen(session, "after_commit", lambda _session: self.bell.set(), once=True)
        return building

    def _go_on(self, session: Session, generation: GenerationRow, owner: str | None) -> GenerationRow:
        move(generation, GenerationState.BUILDING)
        generation.error = None
        return self._enqueue(session, generation, owner)

    def _enqueue(self, session: Session, generation: GenerationRow, owner: str | None) -> GenerationRow:
        session.flush()
        queue.enqueue(session, generation.project_id, INDEX, [str(generation.id)], owner=owner)
        event.listen(session, "after_commit", lambda _session: self.bell.set(), once=True)
        return generation


def changed_chunking(
    live: GenerationRow, max_tokens: int | None, overlap_tokens: int | None
) -> ChunkingStrategy | None:
    """Give a store's chunking with other sizes; None where none is given. Raises InvalidChunking."""
    if max_tokens is None and overlap_tokens is None:
        return None
    now = chunking_of(live)
    overlap = now.overlap_tokens if overlap_tokens is None else overlap_tokens
    if max_tokens is None:
        return replace(now, overlap_tokens=overlap)
    return ChunkingStrategy(max_tokens=max_tokens, overlap_tokens=overlap)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a generation is made with; those of an earlier loam lack vectors of their sentences."""

    embedder: str
    chunking: ChunkingStrategy
    graph: bool
    sentences: bool = True


def _made_of(generation: GenerationRow) -> _Made:
    return _Made(
        embedder=generation.embedder,
        chunking=chunking_of(generation),
        graph=generation.graph,
        sentences=generation.sentences,
    )


def _busy(store: VectorStoreRow, building: GenerationRow) -> BadRequest:
    return BadRequest(
        f"Another index of the vector store {store.name or store.id!r} is being made (generation {building.id}): "
        "wait for it or cancel it first.",
        code="index_being_made",
    )
