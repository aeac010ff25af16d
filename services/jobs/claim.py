"""A fine-tuning job in a worker's hands: every write is refused once another has the job, or nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from finetune.errors import TrainingFailed
from finetune.model import Base
from services.jobs import queue
from services.jobs.job import Job
from services.storage.database import Database
from services.storage.tuned_models import find_tuned_model
from services.storage.tuning import add_message
from services.storage.tuning_tables import ENDED_TUNINGS, TuningRow, TuningStatus
from services.tuning import move

# What the trainer and the check call a failure, as it is told: OpenAI's code or ours, and the parameter at fault.
TOLD_AS: dict[str, tuple[str, str | None]] = {
    "unavailable_model": ("model_not_available", "model"),
    "no_chat_template": ("no_chat_template", "model"),
    "chat_format": ("chat_format", "model"),
    "invalid_file": ("invalid_training_file", "training_file"),
    "nothing_to_learn": ("invalid_training_file", "training_file"),
    "invalid_training_file": ("invalid_training_file", "training_file"),
    "invalid_validation_file": ("invalid_validation_file", "validation_file"),
    "invalid_max_length": ("invalid_value", "max_length"),
    "failed": ("training_failed", None),
}


class ClaimLost(Exception):
    """The job has been cancelled, paused or taken over."""


class Claim:
    """A worker's claim to a job."""

    def __init__(self, database: Database, job: Job) -> None:
        self.job = job
        self._database = database

    def read(self) -> TuningRow:
        """Give the job as it is now. Raises ClaimLost."""
        with self._database.read() as session:
            return self._held(session)

    @contextmanager
    def write(self) -> Iterator[tuple[Session, TuningRow]]:
        """Change the job in one transaction, in which the claim stands. Raises ClaimLost."""
        with self._database.write() as session:
            yield session, self._held(session)

    def base(self) -> Base:
        """Give the model that is tuned. Raises TrainingFailed if it is a tuned one that has been deleted."""
        with self._database.read() as session:
            row = self._held(session)
            if row.parent_id is None:
                return Base(source=row.base, revision=row.request["revision"])
            parent = find_tuned_model(session, row.project_id, row.parent_id)
        if parent is None:
            raise TrainingFailed(f"The model {row.parent_id!r} has been deleted.", code="unavailable_model")
        adapter = Path(parent.folder) if parent.kind == "adapter" else None
        return Base(source=row.base, revision=row.request["revision"], adapter=adapter)

    def _held(self, session: Session) -> TuningRow:
        row = session.get(TuningRow, int(self.job.subject))
        if row is None or not queue.holds(session, self.job):
            raise ClaimLost
        return row


def fail_tuning(session: Session, job: Job, code: str, error: str) -> None:
    """Show why a job failed, where it has not ended otherwise."""
    row = session.get(TuningRow, int(job.subject))
    if row is None or row.status in ENDED_TUNINGS:
        return
    move(row, TuningStatus.FAILED)
    row.error_code, row.error_param = TOLD_AS.get(code, (code, None))
    row.error_message = error
    add_message(session, row, error, level="error")
