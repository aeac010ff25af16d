"""Makes a generation of a store's index, verifies it and lets the store be searched by it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from rag.ports import Embedder
from services.embedders import Embedders
from services.generations import move
from services.graphing import Drawing
from services.indexes import Indexes
from services.indexing import Filling, NotIndexed
from services.jobs import queue
from services.jobs.claim import ClaimLost
from services.jobs.job import INDEX, Finished, Job, Stopped
from services.jobs.tasks import Report, end, fail
from services.pruning import prune
from services.storage.chunks import SqlChunkSource
from services.storage.database import Database
from services.storage.generations import BEING_MADE, make_live, missing_documents
from services.storage.stored import SoundVectors
from services.storage.tables import GenerationRow, GenerationState, JobState
from services.storage.vectors import SqlVectorCache
from services.verifying import Problem, check_documents, check_index, documents_of

DOCUMENTS_AT_ONCE = 256

log = logging.getLogger(__name__)


class IndexTask:
    """Makes one generation at a time. Of those that were live before `kept` stay."""

    kind = INDEX
    batch = 1

    def __init__(
        self, database: Database, embedders: Embedders, indexes: Indexes, drawing: Drawing, *, kept: int
    ) -> None:
        self._database = database
        self._embedders = embedders
        self._indexes = indexes
        self._drawing = drawing
        self._kept = kept

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        for job in jobs:
            try:
                finished = self._make(job, stopped)
            except ClaimLost:
                finished = Finished(job_id=job.id, state=JobState.CANCELLED)
            except NotIndexed as exc:
                finished = self._fail(job, str(exc))
            report(finished)
        prune(self._database, self._indexes)

    def failed(self, session: Session, job: Job, code: str, error: str) -> None:
        generation = session.get(GenerationRow, int(job.subject))
        if generation is not None and generation.state in BEING_MADE:
            if generation.state == GenerationState.READY:
                move(generation, GenerationState.BUILDING)
            # One that was live before can still be gone back to.
            move(generation, GenerationState.FAILED if generation.turn is None else GenerationState.RETIRED)
            generation.error = error

    def waiting(self, session: Session, job: Job, error: str | None) -> None:
        """A generation that is being made says so already."""

    def _fail(self, job: Job, error: str) -> Finished:
        with self._database.write() as session:
            if not queue.holds(session, job):
                return Finished(job_id=job.id, state=JobState.CANCELLED)
            return fail(session, self, job, error)

    def _make(self, job: Job, stopped: Callable[[], bool]) -> Finished:
        claimed = _Claimed(self._database, job, stopped)
        with self._database.read() as session:
            generation = claimed.guard(session)
        embedder = self._embedders.named(generation.project_id, generation.embedder)
        making = _Making(self._database, self._indexes, generation, embedder, self._drawing, claimed)
        while True:
            making.fill()
            making.verify()
            if finished := self._switched(claimed):
                return finished

    def _switched(self, claimed: "_Claimed") -> Finished | None:
        """Let the store be searched by the generation, unless documents came or changed while others were put in."""
        with self._database.write() as session:
            generation = claimed.guard(session)
            if not make_live(session, generation, kept=self._kept):
                move(generation, GenerationState.BUILDING)
                return None
            log.info("generation_live store_id=%s generation=%d", generation.store_id, generation.id)
            return end(session, claimed.job, JobState.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A worker's claim to the making of a generation."""

    database: Database
    job: Job
    stopped: Callable[[], bool]

    def guard(self, session: Session) -> GenerationRow:
        """Give the generation while the claim stands. Raises ClaimLost."""
        generation = session.get(GenerationRow, int(self.job.subject))
        if generation is None or generation.state not in BEING_MADE or not queue.holds(session, self.job):
            raise ClaimLost
        return generation

    def writing(self, session: Session) -> GenerationRow:
        """The same in a transaction that gets on with the work: attempts count anew from there."""
        generation = self.guard(session)
        queue.got_on(session, self.job)
        return generation

    def checkpoint(self) -> None:
        if self.stopped():
            raise Stopped


class _Making:
    """A generation between its first document and the switch."""

    def __init__(
        self,
        database: Database,
        indexes: Indexes,
        generation: GenerationRow,
        embedder: Embedder,
        drawing: Drawing,
        claimed: _Claimed,
    ) -> None:
        self._database, self._generation, self._embedder, self._claimed = database, generation, embedder, claimed
        self._drawing = drawing
        # It may have been live before: nobody has looked at its index since.
        indexes.remove_damaged(generation)
        self._index = indexes.open(generation, embedder)
        self._source = SqlChunkSource(database, generation)
        self._verified = 0

    def fill(self) -> None:
        """Put in every document that is not in it, and every one that comes meanwhile."""
        filling = self._filling(SqlVectorCache(self._database, self._generation.project_id))
        while seqs := self._missing():
            filling.put(seqs)

    def verify(self) -> None:
        """See that what has been put in is whole and that the index on the disk agrees; mend once. Raises NotIndexed.

        The index is made here, so that the first search after the switch need not.
        """
        if problems := self._problems():
            self._filling(SoundVectors(self._database, self._generation.project_id)).put(
                documents_of(problems, reread=False)
            )
            problems = self._problems()
        self._claimed.checkpoint()
        self._index.sync(self._source)
        if problems := [*problems, *check_index(self._index, self._source)]:
            raise NotIndexed(f"It cannot be verified: {problems[0].says}")
        self._verified = int(self._source.chunk_ids().max(initial=0))
        with self._database.write() as session:
            generation = self._claimed.guard(session)
            if generation.state == GenerationState.BUILDING:
                move(generation, GenerationState.READY)

    def _problems(self) -> list[Problem]:
        found = check_documents(
            self._database,
            self._generation,
            self._embedder,
            since=self._verified,
            checkpoint=self._claimed.checkpoint,
        )
        return list(found)

    def _missing(self) -> Sequence[int]:
        with self._database.read() as session:
            return missing_documents(session, self._claimed.guard(session), DOCUMENTS_AT_ONCE)

    def _filling(self, cache: SqlVectorCache) -> Filling:
        return Filling(
            database=self._database,
            generation=self._generation,
            embedder=self._embedder,
            cache=cache,
            drawing=self._drawing,
            guard=self._claimed.writing,
            checkpoint=self._claimed.checkpoint,
        )
