"""Fine-tuning jobs: their states, the ways between them, and what a user may ask of them.

A job is worked on twice. First its files are checked (`VALIDATE` in the queue), beside a training that runs; then it
is trained (`TUNE`), one job a device. What users see is the job's own status; who works on it is the queue's to know.
"""

import re
import time
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from services.errors import BadRequest
from services.ids import FINE_TUNING_JOB, new_id
from services.jobs import queue
from services.jobs.job import TUNE, VALIDATE
from services.models import resolve_base, resolve_embedder
from services.settings import Settings
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.tuning import add_message
from services.storage.tuning_tables import ENDED_TUNINGS, TuningRow, TuningStatus
from services.tuning_requests import (
    WantedTuning,
    inherited,
    require_file,
    require_integrations,
    require_method,
    require_negatives,
)

PAUSE: Final = "pause"
ID_CHARACTERS = 8
_NOT_IN_SUFFIX = re.compile(r"[^\w.-]+")

TRANSITIONS: dict[TuningStatus, frozenset[TuningStatus]] = {
    TuningStatus.VALIDATING_FILES: frozenset(
        {TuningStatus.QUEUED, TuningStatus.PAUSED, TuningStatus.FAILED, TuningStatus.CANCELLED}
    ),
    TuningStatus.QUEUED: frozenset(
        {TuningStatus.RUNNING, TuningStatus.PAUSED, TuningStatus.FAILED, TuningStatus.CANCELLED}
    ),
    # Back to the queue when its worker has died or was told to end.
    TuningStatus.RUNNING: frozenset(
        {
            TuningStatus.QUEUED,
            TuningStatus.PAUSING,
            TuningStatus.SUCCEEDED,
            TuningStatus.FAILED,
            TuningStatus.CANCELLED,
        }
    ),
    # It succeeds where the pause came with the last step, and runs on where it is taken back.
    TuningStatus.PAUSING: frozenset(
        {
            TuningStatus.RUNNING,
            TuningStatus.PAUSED,
            TuningStatus.SUCCEEDED,
            TuningStatus.FAILED,
            TuningStatus.CANCELLED,
        }
    ),
    TuningStatus.PAUSED: frozenset({TuningStatus.VALIDATING_FILES, TuningStatus.QUEUED, TuningStatus.CANCELLED}),
    # It goes on from its last checkpoint, once the full disk or the lost device is back.
    TuningStatus.FAILED: frozenset({TuningStatus.QUEUED}),
    TuningStatus.SUCCEEDED: frozenset(),
    TuningStatus.CANCELLED: frozenset(),
}
WAITING = frozenset({TuningStatus.VALIDATING_FILES, TuningStatus.QUEUED})


def move(row: TuningRow, target: TuningStatus) -> None:
    """Bring a job to another state. Raises BadRequest where no way leads there."""
    if target not in TRANSITIONS[TuningStatus(row.status)]:
        said = "has already ended: it has" if row.status in ENDED_TUNINGS else "is"
        raise BadRequest(
            f"The job {row.id!r} {said} {row.status.replace('_', ' ')}, and cannot become {target.value}.",
            param="fine_tuning_job_id",
            code="invalid_job_state",
        )
    row.status = target
    row.wanted = None
    row.finished_at = int(time.time()) if target in ENDED_TUNINGS else None
    if target is not TuningStatus.RUNNING:
        row.estimated_finish = None


class TuningJobs:
    """Makes jobs and changes their course, each in the caller's transaction."""

    def __init__(self, settings: Settings, database: Database, blobs: Blobs) -> None:
        self._settings = settings
        self._database = database
        self._blobs = blobs

    def create(
        self, session: Session, project_id: str, wanted: WantedTuning, *, over_http: bool, owner: str | None = None
    ) -> TuningRow:
        """Make a job, whose files will be checked by a worker; by `owner` alone while that lives. Raises BadRequest."""
        training = require_file(session, project_id, wanted.training_file, "training_file")
        validation = None
        if wanted.validation_file is not None:
            validation = require_file(session, project_id, wanted.validation_file, "validation_file")
        require_integrations(wanted.integrations)
        resolve = resolve_embedder if wanted.tuning.method == "embedding" else resolve_base
        found = resolve(self._settings, self._database, project_id, wanted.model, over_http=over_http)
        tuning = inherited(wanted.tuning, found)
        require_negatives(session, project_id, tuning.negatives_from)
        require_method(self._blobs.path(training.sha256), tuning.method)
        row = TuningRow(
            id=new_id(FINE_TUNING_JOB),
            project_id=project_id,
            status=TuningStatus.VALIDATING_FILES,
            model=self._named(wanted.model),
            base=found.base.source,
            parent_id=found.parent_id,
            training_file_id=training.id,
            validation_file_id=validation.id if validation else None,
            training_sha256=training.sha256,
            validation_sha256=validation.sha256 if validation else None,
            suffix=wanted.suffix,
            tuning=tuning.model_dump(mode="json"),
            request={
                "root": found.root,
                "revision": found.base.revision,
                "metadata": None if wanted.metadata is None else dict(wanted.metadata),
                "integrations": [dict(one) for one in wanted.integrations],
            },
            created_at=int(time.time()),
        )
        session.add(row)
        session.flush()
        files = f"training file: {training.id}" + (f" and validation file: {validation.id}" if validation else "")
        add_message(session, row, f"Created fine-tuning job: {row.id}")
        add_message(session, row, f"Validating {files}")
        queue.enqueue(session, project_id, VALIDATE, [str(row.seq)], owner=owner)
        return row

    def cancel(self, session: Session, row: TuningRow) -> None:
        """End a job; its checkpoints stay. Whoever works on it finds its claim gone. Raises BadRequest."""
        if row.status == TuningStatus.CANCELLED:
            return
        move(row, TuningStatus.CANCELLED)
        _leave_queue(session, row)
        add_message(session, row, "Fine-tuning job cancelled")

    def pause(self, session: Session, row: TuningRow) -> None:
        """Stop a job so that it can go on later from the very step. Raises BadRequest."""
        if row.status in (TuningStatus.PAUSING, TuningStatus.PAUSED):
            return
        if row.status == TuningStatus.RUNNING:
            move(row, TuningStatus.PAUSING)
            row.wanted = PAUSE
            return
        move(row, TuningStatus.PAUSED)
        _leave_queue(session, row)
        add_message(session, row, "Fine-tuning job paused")

    def resume(self, session: Session, row: TuningRow, *, owner: str | None = None) -> None:
        """Let a job go on that was paused or failed, by `owner` alone while that lives. Raises BadRequest."""
        if row.status in (*WAITING, TuningStatus.RUNNING):
            if owner is not None:
                for kind in (VALIDATE, TUNE):
                    queue.keep_for(session, kind, str(row.seq), owner)
            return
        if row.status == TuningStatus.PAUSING:
            move(row, TuningStatus.RUNNING)
            return
        if row.status == TuningStatus.FAILED:
            self._require_bytes(row)
        move(row, TuningStatus.QUEUED if row.settings else TuningStatus.VALIDATING_FILES)
        row.error_code = row.error_message = row.error_param = None
        queue.enqueue(session, row.project_id, TUNE if row.settings else VALIDATE, [str(row.seq)], owner=owner)
        add_message(session, row, "Fine-tuning job resumed")

    def _named(self, model: str) -> str:
        """Give the name of what `default` and an alias stand for."""
        name = self._settings.default if model == "default" else model
        alias = self._settings.aliases.get(name)
        return alias.model if alias else name

    def _require_bytes(self, row: TuningRow) -> None:
        needed = (row.training_sha256, row.validation_sha256)
        if any(sha256 is not None and not self._blobs.exists(sha256) for sha256 in needed):
            raise BadRequest(f"The files of {row.id!r} have been deleted. Upload them and create a job anew.")


def model_name(row: TuningRow) -> str:
    """Give the name that a job's model will have: ft:{base}:{org}:{suffix}:{id}."""
    suffix = _NOT_IN_SUFFIX.sub("-", row.suffix or "").strip("-")
    return f"ft:{row.request['root']}:{row.project_id}:{suffix}:{row.id[-ID_CHARACTERS:]}"


def checkpoint_name(row: TuningRow, step: int) -> str:
    return f"{model_name(row)}:ckpt-step-{step}"


def folder_of(folders: Path, row: TuningRow) -> Path:
    """Give a job's own folder, where its checkpoints and its model are."""
    return folders / row.id


def _leave_queue(session: Session, row: TuningRow) -> None:
    for kind in (VALIDATE, TUNE):
        queue.cancel(session, kind, [str(row.seq)])
