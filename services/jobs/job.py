"""A job: its states, the ways between them, and what its worker knows of it."""

from dataclasses import dataclass

from services.storage.tables import JobState

INGEST = "ingest"
INDEX = "index"
VALIDATE = "validate"
TUNE = "tune"
MAX_ATTEMPTS = 3

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
LIVE = frozenset(state for state, following in TRANSITIONS.items() if following)


def sources_of(target: JobState) -> list[JobState]:
    """Give the states that lead to another."""
    return [state for state, following in TRANSITIONS.items() if target in following]


class Stopped(Exception):
    """The worker is to end: what it holds goes back to the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was claimed. `subject` names what it is about: the `seq` of a document or of a fine-tuning
    job, the `id` of a generation.

    `token` is the claim's: once the job has another, or is not running, its worker may not write.
    """

    seq: int
    id: str
    project_id: str
    kind: str
    subject: str
    attempts: int
    token: int
    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a job ended, or why it is to be tried again; `chunks` counts what an ingestion made searchable here."""

    job_id: str
    state: JobState
    chunks: int = 0
    error: str | None = None
