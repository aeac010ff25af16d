from collections.abc import Iterator

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.jobs import queue
from services.jobs.job import Job
from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, JobRow, JobState


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.write() as session:
        yield session


def put(session: Session, *subjects: str, owner: str | None = None) -> list[str]:
    ids = queue.enqueue(session, DEFAULT_PROJECT, "ingest", subjects, owner=owner)
    return [ids[subject] for subject in subjects]


def claim(session: Session, owner: str = "me", limit: int = 10) -> list[Job]:
    return queue.claim(session, "ingest", owner, limit)


def claim_one(session: Session, owner: str = "me") -> Job:
    (job,) = claim(session, owner)
    return job


def state(session: Session, job_id: str) -> str:
    return session.scalars(select(JobRow.state).where(JobRow.id == job_id)).one()


def test_jobs_are_claimed_oldest_first_and_once(session: Session) -> None:
    put(session, "1", "2", "3")
    assert [job.subject for job in claim(session, limit=2)] == ["1", "2"]
    assert [job.subject for job in claim(session)] == ["3"]
    assert claim(session) == []


def test_other_kinds_are_left_alone(session: Session) -> None:
    queue.enqueue(session, DEFAULT_PROJECT, "tune", ["1"])
    assert claim(session) == []
    assert not queue.waiting(session, "ingest", "me")


def test_subject_has_one_live_job(session: Session) -> None:
    assert put(session, "1") == put(session, "1")
    job = claim_one(session)
    assert put(session, "1") == [job.id]
    queue.finish(session, [job], JobState.SUCCEEDED)
    assert put(session, "1") != [job.id]


def test_job_kept_for_an_owner_is_only_its(session: Session) -> None:
    put(session, "1", owner="cli")
    assert claim(session, "server") == []
    assert [job.subject for job in claim(session, "cli")] == ["1"]


def test_what_was_kept_for_a_lost_owner_is_for_all(session: Session) -> None:
    put(session, "1", owner="cli")
    assert queue.lost(session, lambda owner: owner == "cli", ["ingest"]) == ["cli"]
    queue.free(session, "cli")
    assert [job.subject for job in claim(session, "server")] == ["1"]


def test_finished_job_holds_no_more(session: Session) -> None:
    (job_id,) = put(session, "1")
    job = claim_one(session)
    queue.finish(session, [job], JobState.FAILED, "broken")
    assert not queue.holds(session, job)
    assert state(session, job_id) == "failed"


def test_late_worker_cannot_finish_what_another_took_over(session: Session) -> None:
    (job_id,) = put(session, "1")
    late = claim_one(session, "late")
    queue.try_again(session, late, "lease lapsed")
    second = claim_one(session, "second")
    queue.finish(session, [late], JobState.SUCCEEDED)
    assert (queue.holds(session, late), queue.holds(session, second)) == (False, True)
    assert state(session, job_id) == "running"


def test_cancelled_job_holds_no_more_and_stays_cancelled(session: Session) -> None:
    (job_id,) = put(session, "1")
    job = claim_one(session)
    queue.cancel(session, "ingest", ["1"])
    queue.finish(session, [job], JobState.SUCCEEDED)
    queue.release(session, job)
    assert not queue.holds(session, job)
    assert state(session, job_id) == "cancelled"


def test_released_job_is_as_if_never_claimed(session: Session) -> None:
    put(session, "1")
    queue.release(session, claim_one(session))
    assert claim_one(session).attempts == 1


def test_failed_attempt_counts_and_waits(session: Session) -> None:
    put(session, "1")
    queue.try_again(session, claim_one(session), "busy", delay_s=100)
    assert claim(session) == []
    session.execute(update(JobRow).values(not_before=0))
    assert claim_one(session).attempts == 2


def test_what_was_tried_before_is_claimed_alone(session: Session) -> None:
    put(session, "1", "2")
    for job in claim(session):
        queue.try_again(session, job, "killed")
    put(session, "3", "4")
    assert [[job.subject for job in claim(session)] for _ in range(3)] == [["3", "4"], ["1"], ["2"]]


def test_lapsed_lease_tells_a_lost_owner(session: Session) -> None:
    put(session, "1")
    claim(session, "remote")
    assert queue.lost(session, lambda _owner: False, ["ingest"]) == []
    session.execute(update(JobRow).values(lease_until=1.0))
    assert queue.lost(session, lambda _owner: False, ["ingest"]) == ["remote"]


def test_renewed_lease_keeps_an_owner(session: Session) -> None:
    put(session, "1")
    claim(session, "remote")
    session.execute(update(JobRow).values(lease_until=1.0))
    queue.renew(session, "remote")
    assert queue.lost(session, lambda _owner: False, ["ingest"]) == []
    assert queue.has_jobs(session, "remote")


def test_attempts_count_from_where_a_job_was_last_seen_to_get_on(session: Session) -> None:
    put(session, "1")
    for _ in range(2):
        queue.try_again(session, claim_one(session), "killed")
    job = claim_one(session)
    assert (job.attempts, queue.attempts(session, job)) == (3, 3)
    queue.got_on(session, job)
    assert queue.attempts(session, job) == 1
    queue.try_again(session, job, "killed")
    assert claim_one(session).attempts == 2


def test_late_worker_cannot_say_that_a_job_gets_on(session: Session) -> None:
    put(session, "1")
    late = claim_one(session, "late")
    queue.try_again(session, late, "lease lapsed")
    second = claim_one(session, "second")
    queue.got_on(session, late)
    assert queue.attempts(session, second) == 2


def test_one_subject_can_be_claimed_alone(session: Session) -> None:
    put(session, "1", "2", "3")
    assert queue.waiting(session, "ingest", "me", subject="2")
    assert [job.subject for job in queue.claim(session, "ingest", "me", 10, subject="2")] == ["2"]
    assert not queue.waiting(session, "ingest", "me", subject="2")
    assert [job.subject for job in claim(session)] == ["1", "3"]


def test_queued_job_can_be_kept_for_an_owner_later(session: Session) -> None:
    put(session, "1")
    queue.keep_for(session, "ingest", "1", "cli")
    assert claim(session, "server") == []
    assert [job.subject for job in claim(session, "cli")] == ["1"]


def test_job_that_runs_stays_with_its_worker_whoever_wants_it_kept(session: Session) -> None:
    put(session, "1")
    job = claim_one(session)
    queue.keep_for(session, "ingest", "1", "cli")
    assert queue.holds(session, job)
    assert queue.has_jobs(session, "me")


def test_owner_is_not_lost_for_who_does_other_work(session: Session) -> None:
    queue.enqueue(session, DEFAULT_PROJECT, "tune", ["1"])
    queue.claim(session, "tune", "dead", 1)
    assert queue.lost(session, lambda _owner: True, ["ingest"]) == []
    assert queue.lost(session, lambda _owner: True, ["tune"]) == ["dead"]
