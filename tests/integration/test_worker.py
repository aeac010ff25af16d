import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from rag.errors import EmbedderUnavailable, GeneratorFailed
from rag.parse import parse
from rag.ports import Vectors
from rag.types import Document
from services.ingestion import WantedFile
from services.jobs import queue, tasks
from services.jobs.job import Finished
from services.jobs.worker import Worker
from services.storage.documents import Version, delete_document, store_versions
from services.storage.tables import DEFAULT_PROJECT, ChunkRow, DocumentRow, FileRow, FileStatus, JobRow, JobState
from services.storage.vector_stores import create_store
from services.storage.vectors import SqlVectorCache
from services.wiring import Services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.stored import put_file

DEAD = "nowhere:1:1:1"


@pytest.fixture
def store(services: Services) -> str:
    with services.database.write() as session:
        return create_store(session, DEFAULT_PROJECT, name="docs", embedder="words").id


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BACKOFF_S", 0.0)


def add(services: Services, store: str, content: bytes, name: str = "a.txt") -> str:
    blob = services.blobs.put(content)
    with services.database.write() as session:
        file_id = put_file(session, name, blob).id
        services.ingestion.add_files(session, DEFAULT_PROJECT, store, [WantedFile(file_id=file_id)])
        return file_id


def run(services: Services) -> list[Finished]:
    finished: list[Finished] = []
    services.new_worker().run_until_idle(report=finished.append)
    return finished


def statuses(services: Services) -> list[str]:
    with services.database.read() as session:
        return list(session.scalars(select(DocumentRow.status).order_by(DocumentRow.seq)))


def chunk_texts(services: Services) -> list[str]:
    with services.database.read() as session:
        return list(session.scalars(select(ChunkRow.text).order_by(ChunkRow.id)))


def when_embedding(services: Services, act: Callable[[], None]) -> None:
    """Do something once, in the middle of the next ingestion."""

    class Interrupted(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            services.embedder = WordEmbedder()
            act()
            return super().embed(texts)

    services.embedder = Interrupted()


def failing(times: int, error: Exception) -> Callable[..., Document]:
    """A parser that fails for files named bad.txt, so many times."""
    left = iter([error] * times)

    def _parse(content: bytes, filename: str, **options: object) -> Document:
        if filename == "bad.txt" and (reason := next(left, None)):
            raise reason
        return parse(content, filename)

    return _parse


def test_each_finished_document_is_reported(services: Services, store: str) -> None:
    add(services, store, b"otters")
    (finished,) = run(services)
    assert (finished.state, finished.chunks, finished.error) == (JobState.SUCCEEDED, 1, None)


def test_passing_error_is_tried_again(services: Services, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "parse", failing(2, GeneratorFailed("busy")))
    add(services, store, b"otters", "bad.txt")
    assert [finished.state for finished in run(services)] == ["queued", "queued", "succeeded"]


def test_lasting_error_fails_after_three_attempts(
    services: Services, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "parse", failing(9, GeneratorFailed("busy")))
    add(services, store, b"otters", "bad.txt")
    assert [finished.error for finished in run(services)] == ["busy", "busy", "busy"]
    assert statuses(services) == ["failed"]


def test_unexpected_error_fails_one_document_and_no_other(
    services: Services, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "parse", failing(9, ZeroDivisionError("x")))
    for name in ("a.txt", "bad.txt", "c.txt"):
        add(services, store, name.encode(), name)
    run(services)
    assert statuses(services) == ["completed", "failed", "completed"]
    with services.database.read() as session:
        (message,) = session.scalars(select(DocumentRow.error_message).where(DocumentRow.status == "failed"))
    assert "unexpected error (ZeroDivisionError)" in str(message)


def test_what_cannot_be_stored_fails_alone(services: Services, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def _store(session: Session, versions: Sequence[Version], *, vector_bytes: int) -> list[Version]:
        stored = store_versions(session, versions, vector_bytes=vector_bytes)
        if any(version.document.filename == "bad.txt" for version in versions):
            raise ZeroDivisionError
        return stored

    monkeypatch.setattr(tasks, "store_versions", _store)
    for name in ("a.txt", "bad.txt", "c.txt"):
        add(services, store, name.encode(), name)
    run(services)
    assert statuses(services) == ["completed", "failed", "completed"]
    assert chunk_texts(services) == ["a.txt", "c.txt"]


def test_missing_embedder_fails_the_documents_with_the_reason(services: Services, store: str) -> None:
    class Missing(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            raise EmbedderUnavailable("No such model.")

    services.embedder = Missing()
    add(services, store, b"otters")
    assert [finished.error for finished in run(services)] == ["No such model."]
    assert statuses(services) == ["failed"]


def test_document_of_another_embedders_store_fails(services: Services) -> None:
    with services.database.write() as session:
        other = create_store(session, DEFAULT_PROJECT, name="docs", embedder="other").id
    add(services, other, b"otters")
    (finished,) = run(services)
    assert "made with the embedder 'other', not 'words'" in str(finished.error)


def test_document_cancelled_while_it_is_embedded_is_not_written(services: Services, store: str) -> None:
    add(services, store, b"otters")

    def cancel() -> None:
        with services.database.write() as session:
            services.ingestion.cancel(session, session.scalars(select(DocumentRow)).all())

    when_embedding(services, cancel)
    assert [finished.state for finished in run(services)] == ["cancelled"]
    assert (statuses(services), chunk_texts(services)) == (["cancelled"], [])


def test_document_deleted_while_it_is_embedded_is_not_written(services: Services, store: str) -> None:
    add(services, store, b"otters")

    def delete() -> None:
        with services.database.write() as session:
            delete_document(session, session.scalars(select(DocumentRow)).one())

    when_embedding(services, delete)
    assert [finished.state for finished in run(services)] == ["cancelled"]
    assert chunk_texts(services) == []


def test_bytes_that_come_in_last_are_those_that_stay(services: Services, store: str) -> None:
    add(services, store, b"old")

    def change() -> None:
        newer = services.blobs.put(b"new").sha256
        with services.database.write() as session:
            session.execute(update(FileRow).values(sha256=newer))

    when_embedding(services, change)
    assert [finished.state for finished in run(services)] == ["queued", "succeeded"]
    assert chunk_texts(services) == ["new"]


def test_worker_that_lost_its_job_writes_nothing(services: Services, store: str) -> None:
    add(services, store, b"otters")

    def take_over() -> None:
        with services.database.write() as session:
            session.execute(update(JobRow).values(token=JobRow.token + 1, owner=DEAD))

    when_embedding(services, take_over)
    worker = services.new_worker()
    assert worker._work(lambda: False, lambda _finished: None)
    assert chunk_texts(services) == []


def test_vector_removed_while_it_is_counted_on_is_made_again(
    services: Services, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(services, store, b"otters")
    run(services)
    with services.database.read() as session:
        first = session.scalars(select(DocumentRow.seq)).one()
    add(services, store, b"otters", "b.txt")

    known = SqlVectorCache.known

    def known_and_then_gone(self: SqlVectorCache, keys: Sequence[bytes]) -> set[bytes]:
        monkeypatch.setattr(SqlVectorCache, "known", known)
        found = known(self, keys)
        with services.database.write() as session:
            delete_document(session, session.get_one(DocumentRow, first))
        return found

    monkeypatch.setattr(SqlVectorCache, "known", known_and_then_gone)
    assert [finished.state for finished in run(services)] == ["queued", "succeeded"]
    assert chunk_texts(services) == ["otters"]


def test_jobs_of_a_dead_worker_are_done_at_the_next_start(services: Services, store: str) -> None:
    add(services, store, b"otters")
    with services.database.write() as session:
        queue.claim(session, "ingest", DEAD, 1)
        session.execute(update(JobRow).values(lease_until=1.0))
    assert [finished.state for finished in run(services)] == ["succeeded"]


def test_job_that_kills_its_worker_fails_at_the_third_time(services: Services, store: str) -> None:
    add(services, store, b"otters")
    for _ in range(3):
        with services.database.write() as session:
            queue.claim(session, "ingest", DEAD, 1)
            session.execute(update(JobRow).values(lease_until=1.0))
        services.new_worker()._take_back_lost()
    assert statuses(services) == ["failed"]
    with services.database.read() as session:
        assert session.scalars(select(JobRow.error)).one() == "Its worker was killed or broke off, 3 times."


@pytest.fixture
def running(services: Services) -> Iterator[Worker]:
    stop = threading.Event()
    threads = services.start_workers(stop)
    yield services.new_worker()
    stop.set()
    for thread in threads:
        thread.join()


def test_running_worker_does_what_is_put_in(services: Services, store: str, running: Worker) -> None:
    add(services, store, b"otters")
    # This worker has no task: it only waits for the other one.
    Worker(services.database, [], threading.Event()).run_until_idle()
    assert statuses(services) == ["completed"]


def test_stopped_worker_gives_its_jobs_back(services: Services, store: str) -> None:
    add(services, store, b"otters")
    services.new_worker()._work(lambda: True, lambda _finished: None)
    with services.database.read() as session:
        assert session.execute(select(JobRow.state, JobRow.attempts, JobRow.owner)).all() == [("queued", 0, None)]
    assert statuses(services) == [FileStatus.IN_PROGRESS]
