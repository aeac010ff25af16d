"""Trains: a trainer in a process of its own, followed until the tuned model answers or the reason why not is told.

One training runs on a device at a time, whatever the number of workers on this machine.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout
from sqlalchemy.orm import Session

from finetune.adapter import Manifest
from finetune.errors import FinetuneError
from finetune.events import Level, Stop
from finetune.job import Outcome, TuningJob
from finetune.parity.compare import Parity
from services.jobs import queue
from services.jobs.claim import Claim, ClaimLost, fail_tuning
from services.jobs.integrations import telling
from services.jobs.job import TUNE, Finished, Job, Stopped
from services.jobs.tasks import Report, end, fail, put_back, try_again_or_fail
from services.jobs.training import TICK_S, Trainer, follow
from services.jobs.validate import PLAN, SETTINGS
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.files import add_file
from services.storage.tables import JobState
from services.storage.tuned_models import put_tuned_model
from services.storage.tuning import add_message, last_step, metrics_of
from services.storage.tuning_tables import TuningRow, TuningStatus
from services.tuning import PAUSE, folder_of, model_name, move
from services.tuning_results import FILENAME, RESULTS, table_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tuned model that answers already: its name and its folder, which holds the manifest."""

    project_id: str
    model_id: str
    folder: Path
    manifest: Manifest


StartTrainer: TypeAlias = Callable[[TuningJob], Trainer]
Supply: TypeAlias = Callable[[TuningRow, TuningJob, Callable[[], bool]], None]
"""Puts into a job's folder what its trainer cannot fetch by itself. Raises FinetuneError.

What it is given last tells it to break off, which it does by raising Stopped.
"""

Compare: TypeAlias = Callable[[Tuned, Callable[[], bool]], Parity | None]
"""Holds what a model answers in serving against what it did in training; None where there is nothing to compare.

What it is given second tells it to break off, which it does by raising Stopped.
"""


class TuneTask:
    """Trains the models of jobs whose files are in order."""

    kind = TUNE
    batch = 1

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        folders: Path,
        start: StartTrainer,
        device: str | None,
        supply: Supply,
        compare: Compare,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._folders = folders
        self._start = start
        self._supply = supply
        self._device = device
        self._compare = compare

    def run(self, jobs: Sequence[Job], stopped: Callable[[], bool], report: Report) -> None:
        for job in jobs:
            claim = Claim(self._database, job)
            try:
                report(self._tune(claim, stopped))
            except ClaimLost:
                report(Finished(job_id=job.id, state=JobState.CANCELLED))

    def failed(self, session: Session, job: Job, code: str, error: str) -> None:
        fail_tuning(session, job, code, error)

    def waiting(self, session: Session, job: Job, error: str | None) -> None:
        row = session.get_one(TuningRow, int(job.subject))
        if row.status == TuningStatus.PAUSING:
            _paused(session, row)
            queue.cancel(session, TUNE, [job.subject])
        elif row.status == TuningStatus.RUNNING:
            move(row, TuningStatus.QUEUED)
            if error is not None:
                add_message(session, row, f"{error} The job will go on from its last checkpoint.", level="warn")

    def _tune(self, claim: Claim, stopped: Callable[[], bool]) -> Finished:
        try:
            device = self._device or claim.read().request["device"]
            with self._alone(device, claim, stopped):
                return self._train(claim, device, stopped)
        except FinetuneError as exc:
            log.warning("training_failed job_id=%s error=%s", claim.job.id, exc)
            with claim.write() as (session, _):
                if exc.retryable:
                    return try_again_or_fail(session, self, claim.job, str(exc))
                return fail(session, self, claim.job, str(exc), code=getattr(exc, "code", "failed"))

    @contextmanager
    def _alone(self, device: str, claim: Claim, stopped: Callable[[], bool]) -> Iterator[None]:
        """Wait until no other training runs on a device. The lock goes with its process, however that ends."""
        self._folders.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folders / f"{device.replace(':', '-')}.lock")
        waited = False
        while not lock.is_locked:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if stopped():
                    raise Stopped from None
                if not waited:
                    with claim.write() as (session, row):
                        add_message(session, row, f"Waiting for another training on {device} to end")
                waited = True
                claim.read()
                time.sleep(TICK_S)
        try:
            yield
        finally:
            lock.release()

    def _train(self, claim: Claim, device: str, stopped: Callable[[], bool]) -> Finished:
        base = claim.base()
        with claim.write() as (session, row):
            _began(session, row)
        training = TuningJob(
            base=base,
            settings=SETTINGS.validate_python(row.settings),
            training_file=self._blobs.path(row.training_sha256),
            validation_file=self._blobs.path(row.validation_sha256) if row.validation_sha256 else None,
            folder=folder_of(self._folders, row).absolute(),
            device=device,
            plan=None if row.plan is None else PLAN.validate_python(row.plan),
            name=model_name(row),
            parent=row.parent_id,
            **telling(row.id, row.request["integrations"]),
        )
        self._supply(row, training, _broken_off(claim, stopped))
        trainer = self._start(training)
        try:
            follow(trainer, claim, stopped)
            if stopped():
                raise Stopped
            outcome = trainer.outcome()
        finally:
            trainer.kill()
        return self._settle(claim, outcome, stopped)

    def _settle(self, claim: Claim, outcome: Outcome, stopped: Callable[[], bool]) -> Finished:
        if outcome.stopped is not None or outcome.folder is None or outcome.manifest is None:
            return self._stopped(claim, outcome.stopped)
        with claim.write() as (session, row):
            tuned = Tuned(
                project_id=row.project_id,
                model_id=model_name(row),
                folder=outcome.folder,
                manifest=outcome.manifest,
            )
            _register(session, row, tuned)
        parity = self._parity(claim, tuned, stopped)
        if parity is not None:
            tuned = replace(tuned, manifest=replace(tuned.manifest, parity=parity.public()))
            tuned.manifest.write(tuned.folder)
        return self._succeeded(claim, tuned, outcome.trained_tokens)

    def _stopped(self, claim: Claim, why: Stop | None) -> Finished:
        with claim.write() as (session, row):
            if why is Stop.PAUSE and row.wanted == PAUSE:
                _paused(session, row)
                return end(session, claim.job, JobState.CANCELLED)
            # The pause was taken back while the trainer followed it.
            return put_back(session, self, claim.job)

    def _parity(self, claim: Claim, tuned: Tuned, stopped: Callable[[], bool]) -> Parity | None:
        """A comparison that cannot be made says nothing of the model: it is told, and the job goes on."""
        try:
            parity = self._compare(tuned, _broken_off(claim, stopped))
        except (Stopped, ClaimLost):
            raise
        except Exception as exc:
            log.exception("parity_failed job_id=%s model=%s", claim.job.id, tuned.model_id)
            said = str(exc) if isinstance(exc, FinetuneError) else type(exc).__name__
            with claim.write() as (session, row):
                add_message(session, row, f"Serving could not be compared with training: {said}", level="warn")
            return None
        if parity is not None:
            with claim.write() as (session, row):
                level: Level = "info" if parity.passed else "warn"
                add_message(session, row, parity.sentence(), level=level, data=parity.public())
        return parity

    def _succeeded(self, claim: Claim, tuned: Tuned, trained_tokens: int) -> Finished:
        with self._database.read() as session:
            table = table_of(metrics_of(session, claim.read()))
        blob = self._blobs.put(table)
        with claim.write() as (session, row):
            if not self._blobs.exists(blob.sha256):
                self._blobs.put(table)
            file = add_file(session, row.project_id, filename=FILENAME, purpose=RESULTS, blob=blob)
            _register(session, row, tuned)
            move(row, TuningStatus.SUCCEEDED)
            row.result_file_id = file.id
            row.trained_tokens = trained_tokens
            row.fine_tuned_model = tuned.model_id
            row.parity = None if tuned.manifest.parity is None else dict(tuned.manifest.parity)
            add_message(session, row, f"New fine-tuned model created: {tuned.model_id}")
            add_message(session, row, "The job has successfully completed")
            return end(session, claim.job, JobState.SUCCEEDED)


def _broken_off(claim: Claim, stopped: Callable[[], bool]) -> Callable[[], bool]:
    """Ask, beside whether the worker stops, whether the claim stands. Raises ClaimLost."""

    def asked() -> bool:
        claim.read()
        return stopped()

    return asked


def _began(session: Session, row: TuningRow) -> None:
    move(row, TuningStatus.RUNNING)
    step = last_step(session, row)
    if row.started_at is None:
        row.started_at = int(time.time())
        add_message(session, row, "Fine-tuning job started")
    else:
        add_message(session, row, f"Fine-tuning job goes on from {f'step {step}' if step else 'its beginning'}")


def _paused(session: Session, row: TuningRow) -> None:
    move(row, TuningStatus.PAUSED)
    add_message(session, row, f"Fine-tuning job paused at step {last_step(session, row)}")


def _register(session: Session, row: TuningRow, tuned: Tuned) -> None:
    put_tuned_model(
        session,
        row.project_id,
        tuned.model_id,
        parent=row.parent_id or row.model,
        folder=tuned.folder,
        manifest=tuned.manifest,
        job_id=row.id,
    )
