"""Checks the files of a fine-tuning job, in a process of its own, and lets the job queue for its device."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from finetune.config import Settings, Tuning
from finetune.errors import TrainingFailed
from finetune.events import Level
from finetune.plan import Plan
from finetune.prepare import Prepared, Preparing
from services.jobs import queue
from services.jobs.claim import Claim, ClaimLost, fail_tuning
from services.jobs.job import TUNE, VALIDATE, Finished, Job, Stopped
from services.jobs.tasks import Report, end, fail
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.tables import JobState
from services.storage.tuning import add_message
from services.storage.tuning_tables import TuningRow, TuningStatus
from services.tuning import folder_of, move

TICK_S = 0.2
FIRST_TOLD = 3

SETTINGS = TypeAdapter(Settings)
PLAN = TypeAdapter(Plan)


class Preparation(Protocol):
    """A check that runs elsewhere, as `finetune.processes.prepare_process` starts it."""

    def result(self, timeout_s: float) -> Prepared | None:
        """Wait for its end so long; None where it has not come. Raises TrainingFailed."""

    def kill(self) -> None:
        """End it at once, if it has not ended."""


StartPreparing: TypeAlias = Callable[[Preparing, Path], Preparation]


class ValidateTask:
    """Finds every problem of a job's files before anything is trained. `keeps`: the worker goes on with the job."""

    kind = VALIDATE
    batch = 1

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        folders: Path,
        start: StartPreparing,
        device: str | None,
        *,
        keeps: bool = False,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._folders = folders
        self._start = start
        self._device = device
        self._keeps = keeps

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        for job in jobs:
            claim = Claim(self._database, job)
            try:
                report(self._validate(claim, stopped))
            except ClaimLost:
                report(Finished(job_id=job.id, state=JobState.CANCELLED))

    def failed(self, session: Session, job: Job, code: str, error: str) -> None:
        fail_tuning(session, job, code, error)

    def waiting(self, session: Session, job: Job, error: str | None) -> None:
        """Its files are still to be checked, as its status says."""

    def _validate(self, claim: Claim, stopped: Callable[[], bool]) -> Finished:
        try:
            prepared = self._prepared(claim, stopped)
        except TrainingFailed as exc:
            with claim.write() as (session, _):
                return fail(session, self, claim.job, str(exc), code=exc.code)
        with claim.write() as (session, row):
            return self._settle(session, row, claim.job, prepared)

    def _prepared(self, claim: Claim, stopped: Callable[[], bool]) -> Prepared:
        row = claim.read()
        preparing = Preparing(
            base=claim.base(),
            tuning=Tuning.model_validate(row.tuning),
            training_file=self._blobs.path(row.training_sha256),
            validation_file=self._blobs.path(row.validation_sha256) if row.validation_sha256 else None,
            device=self._device,
        )
        preparation = self._start(preparing, folder_of(self._folders, row))
        try:
            while (prepared := preparation.result(TICK_S)) is None:
                if stopped():
                    raise Stopped
                claim.read()
            return prepared
        finally:
            preparation.kill()

    def _settle(self, session: Session, row: TuningRow, job: Job, prepared: Prepared) -> Finished:
        _tell(session, row, prepared)
        if prepared.settings is None:
            return fail(session, self, job, _summary(prepared), code=f"invalid_{prepared.wrong}")
        row.request = {**row.request, "device": prepared.device}
        row.settings = SETTINGS.dump_python(prepared.settings, mode="json")
        row.plan = None if prepared.plan is None else PLAN.dump_python(prepared.plan, mode="json")
        _tell_plan(session, row, prepared)
        move(row, TuningStatus.QUEUED)
        add_message(session, row, "Files validated, moving job to queued state")
        ended = end(session, job, JobState.SUCCEEDED)
        queue.enqueue(session, row.project_id, TUNE, [job.subject], owner=job.owner if self._keeps else None)
        return ended


def _tell(session: Session, row: TuningRow, prepared: Prepared) -> None:
    """Put everything that was found into the job's events."""
    for told in prepared.told:
        data = {"code": told.code, "param": told.part, "field": told.field, "count": told.count, "lines": told.lines}
        level: Level = "error" if told.severity == "error" else "warn"
        add_message(session, row, f"{_named(told.part)}: {told.text}", level=level, data=data)
    if prepared.untold:
        more = f"{prepared.untold:,} more kinds of problems were found; 'loam finetune check' lists them all."
        add_message(session, row, more, level="warn")


def _tell_plan(session: Session, row: TuningRow, prepared: Prepared) -> None:
    if prepared.plan is not None and prepared.plan.reasons:
        add_message(session, row, f"Plan: {' '.join(prepared.plan.reasons)}", data=row.plan)
    if prepared.unplanned is not None:
        add_message(session, row, prepared.unplanned, level="warn")


def _summary(prepared: Prepared) -> str:
    wrong = [told for told in prepared.told if told.severity == "error" and told.part == prepared.wrong]
    first = " ".join(told.text for told in wrong[:FIRST_TOLD])
    count = f"{prepared.errors:,} error{'s' if prepared.errors != 1 else ''}"
    file = _named(prepared.wrong or "training_file").lower()
    return f"The job failed due to an invalid {file}: {count}. {first} The job's events list all that was found."


def _named(part: str) -> str:
    return part.replace("_", " ").capitalize()
