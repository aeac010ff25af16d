"""One training under way: what the trainer tells goes into the database, what users want goes to the trainer."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Protocol

from sqlalchemy.orm import Session

from finetune.adapter import Manifest
from finetune.events import Checkpoint, Event, Message, Metrics, Stop
from finetune.job import Outcome
from services.jobs.claim import Claim, ClaimLost
from services.jobs.queue import got_on
from services.storage.tuned_models import put_tuned_model
from services.storage.tuning import add_message, record_checkpoint, record_metrics
from services.storage.tuning_tables import TuningRow
from services.tuning import PAUSE, checkpoint_name

# How long an event waits for others to be written with it, and a wish to be passed on.
TICK_S = 0.2
# How long the trainer may take to end in order before it is ended: once it works for nobody, and when the worker ends.
CANCEL_GRACE_S = 2.0
STOP_GRACE_S = 10.0


class Trainer(Protocol):
    """A training in a process of its own, as `finetune.processes.process` starts it."""

    def events(self) -> Iterator[Event]:
        """Give the events as they come, until the trainer has ended."""

    def stop(self, why: Stop) -> None:
        """Ask it to stop. Does nothing once it has ended."""

    def kill(self) -> None:
        """End it at once. Does nothing once it has ended."""

    def outcome(self) -> Outcome:
        """Wait for its end and give it. Raises TrainingFailed, and TrainerKilled if a signal ended it."""


def follow(trainer: Trainer, claim: Claim, stopped: Callable[[], bool]) -> None:
    """Follow a trainer until it has ended. Raises ClaimLost, once it has."""
    inbox = _Inbox(trainer)
    notes = _Notes(claim)
    reins = _Reins(trainer)
    lost = False
    ended = False
    while not ended:
        events, ended = inbox.take(TICK_S)
        try:
            if not lost and events:
                notes.write(events)
            paused = not lost and claim.read().wanted == PAUSE
        except ClaimLost:
            lost, paused = True, False
        reins.pull(lost=lost, stopped=stopped(), paused=paused)
    if lost:
        raise ClaimLost


class _Inbox:
    """The trainer's events, read by a thread of their own."""

    def __init__(self, trainer: Trainer) -> None:
        self._events: queue.Queue[Event | None] = queue.Queue()
        threading.Thread(target=self._read, args=(trainer,), name="trainer-events", daemon=True).start()

    def take(self, seconds: float) -> tuple[list[Event], bool]:
        """Give what comes within a time, and whether that was all."""
        events: list[Event] = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                return events, True
            events.append(event)
        return events, False

    def _read(self, trainer: Trainer) -> None:
        try:
            for event in trainer.events():
                self._events.put(event)
        finally:
            self._events.put(None)


class _Reins:
    """Asks the trainer to stop where that is wanted, and ends it if it does not follow in time."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._asked: tuple[Stop, float] | None = None
        self._until = inf

    def pull(self, *, lost: bool, stopped: bool, paused: bool) -> None:
        wanted = None
        if lost:
            wanted = (Stop.CANCEL, CANCEL_GRACE_S)
        elif stopped:
            wanted = (Stop.PAUSE, STOP_GRACE_S)
        elif paused:
            wanted = (Stop.PAUSE, inf)
        if wanted is not None and wanted != self._asked:
            self._trainer.stop(wanted[0])
            self._asked, self._until = wanted, time.monotonic() + wanted[1]
        if time.monotonic() > self._until:
            self._trainer.kill()


class _Notes:
    """Writes a trainer's events down, those that came together in one transaction."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._begun: tuple[float, int] | None = None

    def write(self, events: Sequence[Event]) -> None:
        """Raises ClaimLost, with nothing written."""
        manifests = {event.step: Manifest.read(event.folder) for event in events if isinstance(event, Checkpoint)}
        with self._claim.write() as (session, row):
            for event in events:
                match event:
                    case Message():
                        add_message(session, row, event.text, level=event.level)
                    case Metrics():
                        record_metrics(session, row, event)
                        if not event.recalled:
                            row.estimated_finish = self._estimate(event)
                    case Checkpoint():
                        self._keep(session, row, event, manifests[event.step])

    def _keep(self, session: Session, row: TuningRow, checkpoint: Checkpoint, manifest: Manifest) -> None:
        name = checkpoint_name(row, checkpoint.step)
        put_tuned_model(
            session,
            row.project_id,
            name,
            parent=row.parent_id or row.model,
            folder=checkpoint.folder,
            manifest=manifest,
            job_id=row.id,
        )
        if record_checkpoint(session, row, step=checkpoint.step, model_id=name, values=checkpoint.values):
            # What comes this far has not been tried in vain.
            got_on(session, self._claim.job)
            data = {"step": checkpoint.step, "fine_tuned_model_checkpoint": name}
            add_message(session, row, f"Checkpoint created at step {checkpoint.step}", data=data)

    def _estimate(self, metrics: Metrics) -> int | None:
        """Say when the last step will be done, from the pace since this trainer's first."""
        now = time.time()
        if self._begun is None:
            self._begun = now, metrics.step
        began, first = self._begun
        if metrics.step <= first:
            return None
        return round(now + (metrics.total_steps - metrics.step) * (now - began) / (metrics.step - first))
