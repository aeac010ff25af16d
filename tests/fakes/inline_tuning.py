"""The real check and the real training, in the test's own process: no time is spent to start others."""

from collections.abc import Iterator
from pathlib import Path

from finetune.events import Event, Stop
from finetune.job import Outcome, TuningJob
from finetune.prepare import Prepared, Preparing, prepare
from finetune.run import tune
from services.wiring import Services


class InlinePreparation:
    def __init__(self, preparing: Preparing, _folder: Path) -> None:
        self._preparing = preparing

    def result(self, _timeout_s: float) -> Prepared:
        return prepare(self._preparing)

    def kill(self) -> None:
        """It has ended."""


class InlineTrainer:
    """Trains to the end when its events are asked for; it is not to be stopped."""

    def __init__(self, job: TuningJob) -> None:
        self._job = job
        self._outcome: Outcome | None = None

    def events(self) -> Iterator[Event]:
        events: list[Event] = []
        self._outcome = tune(self._job, events.append, lambda: None)
        yield from events

    def stop(self, why: Stop) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """It has ended."""

    def outcome(self) -> Outcome:
        assert self._outcome is not None
        return self._outcome


def use_inline(services: Services) -> None:
    """Let a service check and train for real, but in this process."""
    services.start_preparing = InlinePreparation
    services.start_trainer = InlineTrainer
