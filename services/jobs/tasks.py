"""What a worker does with jobs of each kind, and how the ingestion of documents is done."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Protocol, TypeAlias

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from rag.chunk import ChunkingStrategy
from rag.errors import EmbedderMismatch, RagError
from rag.ingest import Ingested, Outcome, Rejected, Source, ingest
from rag.parse import ParseLimits, parse
from rag.ports import Embedder
from services.embedders import Embedders
from services.graphing import Drawing
from services.jobs import queue
from services.jobs.job import INGEST, MAX_ATTEMPTS, Finished, Job, Stopped
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.documents import Version, fail_document, store_versions
from services.storage.generations import live_generation, strategy_of
from services.storage.tables import DocumentRow, FileRow, GenerationRow, JobState
from services.storage.vectors import SqlVectorCache

BATCH_FILES = 256
# So many are looked at together, whether they have been cancelled: what is read in vain then is not stored.
LOOKED_AT_ONCE = 8
BACKOFF_S = 1.0
BACKOFF_FACTOR = 4
FLOAT_BYTES = 4

log = logging.getLogger(__name__)

Report: TypeAlias = Callable[[Finished], None]


class Task(Protocol):
    """How jobs of one kind are done."""

    @property
    def kind(self) -> str: ...

    @property
    def batch(self) -> int:
        """How many jobs are claimed at once, to be done together."""

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        """Do the jobs and finish each. Raises Stopped; what any error leaves unfinished is the caller's to settle."""

    def failed(self, session: Session, job: Job, code: str, error: str) -> None:
        """Show a job's failure where its subject is looked at, in the transaction that ends the job."""

    def waiting(self, session: Session, job: Job, error: str | None) -> None:
        """Show that a job waits again, after an error or without one, in the transaction that puts it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """What a version of a document is made of, and for which generation of its store's index."""

    filename: str
    sha256: str
    strategy: ChunkingStrategy
    made_with: str
    generation_id: int
    graph: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    job: Job
    version: _Version

    @property
    def alike(self) -> tuple[str, str]:
        """What is embedded together: the project and the embedder."""
        return self.job.project_id, self.version.made_with


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    """A document as it is now, what its next version is to be made of, and the generation that this goes into."""

    document: DocumentRow
    version: _Version
    live: GenerationRow

    def made(self, outcome: Ingested[_Work]) -> Version:
        return Version(document=self.document, made=outcome, generation=self.live, sha256=self.version.sha256)


_Outcome: TypeAlias = Outcome[_Work]


class IngestTask:
    """Reads, cuts and embeds documents in one stream, so that the embedder's batches are full."""

    kind = INGEST
    batch = BATCH_FILES

    def __init__(
        self, database: Database, blobs: Blobs, embedders: Embedders, limits: ParseLimits, drawing: Drawing
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._embedders = embedders
        self._limits = limits
        self._drawing = drawing

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        works = sorted(self._works(jobs, report), key=lambda work: (*work.alike, work.job.seq))
        for (project_id, made_with), alike in groupby(works, key=lambda work: work.alike):
            mine = list(alike)
            try:
                embedder = self._embedders.named(project_id, made_with)
            except EmbedderMismatch as exc:
                self._settle([Rejected(ref=work, error=exc) for work in mine], 0, report)
            else:
                self._run_alike(project_id, mine, embedder, stopped, report)

    def failed(self, session: Session, job: Job, code: str, error: str) -> None:
        fail_document(session, int(job.subject), code, error)

    def waiting(self, session: Session, job: Job, error: str | None) -> None:
        """A document in progress says so already."""

    def _run_alike(
        self, project_id: str, works: Sequence[_Work], embedder: Embedder, stopped: Callable[[], bool], report: Report
    ) -> None:
        vector_bytes = embedder.dimensions * FLOAT_BYTES

        def checkpoint() -> None:
            if stopped():
                raise Stopped

        def sources() -> Iterator[Source[_Work]]:
            for start in range(0, len(works), LOOKED_AT_ONCE):
                for work in self._held(works[start : start + LOOKED_AT_ONCE]):
                    checkpoint()
                    yield self._source(work)

        cache = SqlVectorCache(self._database, project_id)
        reading = partial(parse, limits=self._limits, checkpoint=checkpoint)
        for done in ingest(sources(), parse=reading, embedder=embedder, cache=cache, checkpoint=checkpoint):
            drawn = self._drawing.draw(project_id, done, lambda work: work.version.graph, checkpoint)
            self._settle(drawn, vector_bytes, report)

    def _works(self, jobs: Sequence[Job], report: Report) -> Iterable[_Work]:
        with self._database.read() as session:
            found = _current(session, jobs)
        gone = [job for job in jobs if job.seq not in found]
        if gone:
            self._drop(gone, report)
        return [_Work(job=job, version=found[job.seq].version) for job in jobs if job.seq in found]

    def _source(self, work: _Work) -> Source[_Work]:
        read = partial(self._blobs.read, work.version.sha256)
        return Source(ref=work, filename=work.version.filename, read=read, strategy=work.version.strategy)

    def _held(self, works: Sequence[_Work]) -> list[_Work]:
        with self._database.read() as session:
            held = queue.held(session, [work.job for work in works])
        return [work for work in works if work.job in held]

    def _settle(self, done: Sequence[_Outcome], vector_bytes: int, report: Report) -> None:
        """Write what is finished, each document whole, and one commit for all."""
        with self._database.write() as session:
            finished = self._settled(session, done, vector_bytes)
        for each in finished:
            report(each)

    def _settled(self, session: Session, done: Sequence[_Outcome], vector_bytes: int) -> list[Finished]:
        """Write all at once; where that fails, one by one, so that a document that cannot be stored fails alone."""
        try:
            with session.begin_nested():
                return self._put_away(session, done, vector_bytes)
        except DBAPIError:
            raise  # Of the database, not of a document.
        except Exception as exc:
            if len(done) > 1:
                return [each for one in done for each in self._settled(session, [one], vector_bytes)]
            job = done[0].ref.job
            log.exception("document_not_stored job_id=%s", job.id)
            return [try_again_or_fail(session, self, job, f"It could not be stored ({type(exc).__name__}).")]

    def _put_away(self, session: Session, done: Sequence[_Outcome], vector_bytes: int) -> list[Finished]:
        held = queue.held(session, [outcome.ref.job for outcome in done])
        found = _current(session, held, hold=True)
        finished, versions = [], {}
        for outcome in done:
            job, current = outcome.ref.job, found.get(outcome.ref.job.seq)
            if job not in held:
                finished.append(Finished(job_id=job.id, state=JobState.CANCELLED))
            elif current is None:
                finished.append(end(session, job, JobState.CANCELLED))
            elif current.version != outcome.ref.version:
                # Other bytes came in while these were read, or another generation went live: the last is to stay.
                finished.append(_do_again(session, job))
            elif isinstance(outcome, Rejected):
                finished.append(self._reject(session, job, outcome.error))
            else:
                versions[job] = current.made(outcome)
        return finished + self._stored(session, versions, vector_bytes)

    def _stored(self, session: Session, versions: Mapping[Job, Version], vector_bytes: int) -> list[Finished]:
        stored = store_versions(session, list(versions.values()), vector_bytes=vector_bytes)
        ended = [job for job, version in versions.items() if version in stored]
        if ended:
            queue.finish(session, ended, JobState.SUCCEEDED)
        return [
            Finished(job_id=job.id, state=JobState.SUCCEEDED, chunks=len(version.made.chunks))
            if job in ended
            else _do_again(session, job)
            for job, version in versions.items()
        ]

    def _reject(self, session: Session, job: Job, error: RagError) -> Finished:
        if error.retryable:
            return try_again_or_fail(session, self, job, str(error))
        return fail(session, self, job, str(error), code=error.code)

    def _drop(self, jobs: Sequence[Job], report: Report) -> None:
        """End jobs whose document has been deleted."""
        with self._database.write() as session:
            ended = [end(session, job, JobState.CANCELLED) for job in jobs]
        for each in ended:
            report(each)


def try_again_or_fail(session: Session, task: Task, job: Job, error: str, *, at_once: bool = False) -> Finished:
    """Put a job back after an attempt that failed, later each time unless `at_once`; after the last, let it fail."""
    attempts = queue.attempts(session, job)
    if attempts >= MAX_ATTEMPTS:
        return fail(session, task, job, error)
    delay_s = 0.0 if at_once else BACKOFF_S * BACKOFF_FACTOR ** (attempts - 1)
    queue.try_again(session, job, error, delay_s=delay_s)
    task.waiting(session, job, error)
    return Finished(job_id=job.id, state=JobState.QUEUED, error=error)


def put_back(session: Session, task: Task, job: Job) -> Finished:
    """Put a job that is held back as if it had not been claimed."""
    queue.release(session, job)
    task.waiting(session, job, None)
    return Finished(job_id=job.id, state=JobState.QUEUED)


def fail(session: Session, task: Task, job: Job, error: str, *, code: str = RagError.code) -> Finished:
    """End a job that is held, its subject told."""
    task.failed(session, job, code, error)
    return end(session, job, JobState.FAILED, error=error)


def end(session: Session, job: Job, state: JobState, *, chunks: int = 0, error: str | None = None) -> Finished:
    """End a job; without effect if the claim does not stand."""
    queue.finish(session, [job], state, error)
    return Finished(job_id=job.id, state=state, chunks=chunks, error=error)


def _do_again(session: Session, job: Job) -> Finished:
    queue.release(session, job)
    return Finished(job_id=job.id, state=JobState.QUEUED)


def _current(session: Session, jobs: Sequence[Job], *, hold: bool = False) -> dict[int, _Current]:
    """Give, by the `seq` of the job, the documents that there are."""
    rows = session.execute(
        select(DocumentRow, FileRow.sha256)
        .join(FileRow, FileRow.id == DocumentRow.file_id)
        .where(DocumentRow.seq.in_([int(job.subject) for job in jobs]))
    )
    documents = {document.seq: (document, sha256) for document, sha256 in rows}
    stores = sorted({document.store_id for document, _ in documents.values()})
    live = {store_id: live_generation(session, store_id, hold=hold) for store_id in stores}
    found = ((job, documents.get(int(job.subject))) for job in jobs)
    return {job.seq: _now(*row, live[row[0].store_id]) for job, row in found if row is not None}


def _now(document: DocumentRow, sha256: str, live: GenerationRow) -> _Current:
    version = _Version(
        filename=document.filename,
        sha256=sha256,
        strategy=strategy_of(document, live),
        made_with=live.embedder,
        generation_id=live.id,
        graph=live.graph,
    )
    return _Current(document=document, version=version, live=live)
