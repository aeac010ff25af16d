"""The queue: jobs put in, claimed in one statement, and let go again, each in the caller's transaction.

A claim is a lease: its owner renews it while it lives, and whoever finds it lapsed, or its owner
dead, takes the job back. The token that grows with each claim fences off an owner that comes late.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Update, bindparam, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from services.ids import JOB, new_id
from services.jobs.job import LIVE, Job, sources_of
from services.storage.tables import JobRow, JobState

LEASE_S = 60.0
# Nothing is put off for longer: what says so was written by a clock that has gone back since.
LONGEST_DELAY_S = 300.0
CLOCK_SLACK_S = 10.0

# Written out in the statement: SQLite would not see by a parameter that the index of live jobs has what is wanted.
_LIVE: BindParameter[list[str]] = bindparam("live", sorted(LIVE), expanding=True, literal_execute=True)
_JOB = (
    JobRow.seq,
    JobRow.id,
    JobRow.project_id,
    JobRow.kind,
    JobRow.subject,
    JobRow.attempts,
    JobRow.token,
    JobRow.owner,
)


def enqueue(
    session: Session, project_id: str, kind: str, subjects: Collection[str], *, owner: str | None = None
) -> dict[str, str]:
    """Give the ids of the subjects' live jobs, made where there is none; for `owner` alone while that lives."""
    mine = select(JobRow.subject, JobRow.id).where(_of(kind, subjects), JobRow.state.in_(_LIVE))
    ids = {job.subject: job.id for job in session.execute(mine)}
    now = time.time()
    new = [
        {
            "id": new_id(JOB),
            "project_id": project_id,
            "kind": kind,
            "subject": subject,
            "owner": owner,
            "lease_until": None if owner is None else now + LEASE_S,
            "created_at": int(now),
        }
        for subject in dict.fromkeys(subjects)
        if subject not in ids
    ]
    if new:
        session.execute(insert(JobRow), new)
    return ids | {str(job["subject"]): str(job["id"]) for job in new}


def keep_for(session: Session, kind: str, subject: str, owner: str) -> None:
    """Keep a queued job for an owner alone while that lives."""
    queued = update(JobRow).where(_of(kind, [subject]), JobRow.state == JobState.QUEUED)
    session.execute(queued.values(owner=owner, lease_until=time.time() + LEASE_S))


def waiting(session: Session, kind: str, owner: str, *, subject: str | None = None) -> bool:
    """Tell whether there is something for this owner to claim, of one subject or of any."""
    return session.scalar(select(JobRow.seq).where(_claimable(kind, owner, subject)).limit(1)) is not None


def claim(session: Session, kind: str, owner: str, limit: int, *, subject: str | None = None) -> list[Job]:
    """Claim up to `limit` new jobs, oldest first; if there are none, one that was tried before; all of `subject`.

    What was tried before is claimed alone, so that a job which kills its worker takes no other with it.
    """
    claimable = _claimable(kind, owner, subject)
    return _claim(session, owner, limit, claimable, JobRow.attempts == 0) or _claim(session, owner, 1, claimable)


def holds(session: Session, job: Job) -> bool:
    """Tell whether a claim still stands: neither cancelled nor taken over. Ask in the transaction that writes."""
    return bool(held(session, [job]))


def held(session: Session, jobs: Sequence[Job]) -> list[Job]:
    """Give those of the jobs whose claim still stands."""
    rows = session.execute(select(JobRow.seq, JobRow.token).where(_held(*jobs)))
    claims = {(row.seq, row.token) for row in rows}
    return [job for job in jobs if (job.seq, job.token) in claims]


def finish(session: Session, jobs: Sequence[Job], state: JobState, error: str | None = None) -> None:
    """End jobs; without effect on those whose claim does not stand."""
    session.execute(_move(state).where(_held(*jobs)).values(error=error))


def release(session: Session, job: Job) -> None:
    """Put a job back as if it had not been claimed; without effect if the claim does not stand."""
    session.execute(_move(JobState.QUEUED).where(_held(job)).values(attempts=JobRow.attempts - 1))


def attempts(session: Session, job: Job) -> int:
    """Count how often a job has been tried since it was last seen to get on."""
    return session.scalars(select(JobRow.attempts).where(JobRow.seq == job.seq)).one()


def got_on(session: Session, job: Job) -> None:
    """Count attempts anew from this one on; without effect if the claim does not stand."""
    session.execute(update(JobRow).where(_held(job)).values(attempts=1))


def try_again(session: Session, job: Job, error: str, *, delay_s: float = 0.0) -> None:
    """Put a job back after an attempt that failed; without effect if the claim does not stand."""
    again = _move(JobState.QUEUED).where(_held(job))
    session.execute(again.values(error=error, not_before=time.time() + delay_s))


def cancel(session: Session, kind: str, subjects: Collection[str]) -> None:
    """Cancel the subjects' live jobs, if there are any; a worker that has one finds its claim gone."""
    session.execute(_move(JobState.CANCELLED).where(_of(kind, subjects)))


def has_jobs(session: Session, owner: str) -> bool:
    """Tell whether an owner holds jobs or some are kept for it."""
    mine = select(JobRow.seq).where(JobRow.owner == owner, JobRow.state.in_(LIVE))
    return session.scalar(mine.limit(1)) is not None


def renew(session: Session, owner: str) -> None:
    """Prolong the leases of all that an owner holds or that is kept for it."""
    mine = update(JobRow).where(JobRow.owner == owner, JobRow.state.in_(LIVE))
    session.execute(mine.values(lease_until=time.time() + LEASE_S))


def shorten_leases(session: Session) -> None:
    """Let no lease last longer than one that begins now: the clock has gone back since it was given."""
    longest = time.time() + LEASE_S
    session.execute(update(JobRow).where(_too_long(longest)).values(lease_until=longest))


def has_long_leases(session: Session) -> bool:
    """Tell whether there are leases to shorten. A clock that is set by a second or two makes none."""
    longest = time.time() + LEASE_S + CLOCK_SLACK_S
    return session.scalar(select(JobRow.seq).where(_too_long(longest)).limit(1)) is not None


def lost(session: Session, is_dead: Callable[[str], bool], kinds: Collection[str]) -> list[str]:
    """Give the owners of live jobs of these kinds whose process has ended or whose lease has lapsed."""
    leases = session.execute(
        select(JobRow.owner, func.min(JobRow.lease_until))
        .where(JobRow.state.in_(LIVE), JobRow.owner.is_not(None), JobRow.kind.in_(kinds))
        .group_by(JobRow.owner)
    )
    now = time.time()
    return [owner for owner, until in leases if owner and ((until or 0.0) < now or is_dead(owner))]


def free(session: Session, owner: str) -> None:
    """Let everyone claim what was kept for an owner."""
    session.execute(
        update(JobRow)
        .where(JobRow.owner == owner, JobRow.state == JobState.QUEUED)
        .values(owner=None, lease_until=None)
    )


def held_by(session: Session, owner: str) -> list[Job]:
    """Give the jobs that an owner has claimed and not finished."""
    held = session.execute(select(*_JOB).where(JobRow.owner == owner, JobRow.state == JobState.RUNNING))
    return [_job(row) for row in held]


def live_ids(session: Session) -> set[str]:
    """Give the ids of all jobs that have not ended."""
    return set(session.scalars(select(JobRow.id).where(JobRow.state.in_(LIVE))))


def _claim(session: Session, owner: str, limit: int, *wanted: ColumnElement[bool]) -> list[Job]:
    oldest = select(JobRow.seq).where(*wanted).order_by(JobRow.seq).limit(limit).with_for_update(skip_locked=True)
    claimed = session.execute(
        update(JobRow)
        .where(JobRow.seq.in_(oldest))
        .values(
            state=JobState.RUNNING,
            owner=owner,
            lease_until=time.time() + LEASE_S,
            token=JobRow.token + 1,
            attempts=JobRow.attempts + 1,
        )
        .returning(*_JOB)
    )
    return sorted((_job(row) for row in claimed), key=lambda job: job.seq)


def _too_long(longest: float) -> ColumnElement[bool]:
    return JobRow.state.in_(_LIVE) & (JobRow.lease_until > longest)


def _claimable(kind: str, owner: str, subject: str | None) -> ColumnElement[bool]:
    mine = or_(JobRow.owner.is_(None), JobRow.owner == owner)
    now = time.time()
    due = or_(JobRow.not_before <= now, JobRow.not_before > now + LONGEST_DELAY_S)
    found = (JobRow.state == JobState.QUEUED) & (JobRow.kind == kind) & due & mine
    return found if subject is None else found & (JobRow.subject == subject)


def _move(target: JobState) -> Update:
    """Change the state of those jobs from which the transition is allowed."""
    ended = target not in LIVE
    moved = update(JobRow).where(JobRow.state.in_(sources_of(target)))
    return moved.values(state=target, owner=None, lease_until=None, finished_at=int(time.time()) if ended else None)


def _of(kind: str, subjects: Collection[str]) -> ColumnElement[bool]:
    return (JobRow.kind == kind) & JobRow.subject.in_(subjects)


def _held(*jobs: Job) -> ColumnElement[bool]:
    # By `seq` first: SQLite looks rows up by one column, not by two.
    claimed = JobRow.seq.in_([job.seq for job in jobs])
    claims = tuple_(JobRow.seq, JobRow.token).in_([(job.seq, job.token) for job in jobs])
    return claimed & claims & (JobRow.state == JobState.RUNNING)


def _job(row: Row[*tuple[Any, ...]]) -> Job:
    return Job(**row._mapping)
