"""A check of files and a trainer that do what a test says, in this process and without a model."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from finetune.adapter import Manifest
from finetune.config import settle
from finetune.errors import TrainerKilled, TrainingFailed
from finetune.events import Checkpoint, Event, Message, Metrics, Stop
from finetune.job import CHECKPOINTS, MODEL, Outcome, TuningJob
from finetune.prepare import Prepared, Preparing
from services.jobs.training import Trainer
from services.jobs.validate import Preparation
from services.storage.tables import DEFAULT_PROJECT
from services.tuning_requests import PURPOSE, WantedTuning
from services.wiring import Services
from tests.fakes.stored import add_file
from tests.fakes.tuned import MANIFEST

TOKENS_PER_STEP = 10
CHAT = [{"role": "user", "content": "two and two?"}, {"role": "assistant", "content": "four"}]


class FakePreparation:
    """Gives what the test wants it to, once it has been asked often enough."""

    def __init__(self, preparing: Preparing, found: Prepared | Exception | None = None, *, asked: int = 0) -> None:
        self._preparing, self._found, self._left = preparing, found, asked
        self.killed = False

    def result(self, timeout_s: float) -> Prepared | None:
        if self._left > 0:
            self._left -= 1
            threading.Event().wait(timeout_s)
            return None
        if isinstance(self._found, Exception):
            raise self._found
        settings = settle(self._preparing.tuning, examples=8, longest_input=512)
        return self._found or Prepared(device="cpu", settings=settings, examples=8, tokens=80)

    def kill(self) -> None:
        self.killed = True


class FakeTrainer:
    """Takes so many steps, goes on from its last checkpoint, and does at each step what the test puts there."""

    def __init__(
        self,
        job: TuningJob,
        *,
        steps: int = 4,
        every: int = 2,
        at: Callable[["FakeTrainer", int], None] = lambda _trainer, _step: None,
    ) -> None:
        self.job, self.steps, self._every, self._at = job, steps, every, at
        self.asked = threading.Event()
        self.why: Stop | None = None
        self.died = threading.Event()
        self.error: TrainingFailed | None = None
        self._outcome: Outcome | None = None

    def events(self) -> Iterator[Event]:
        first = max((int(path.name.removeprefix("step-")) for path in self._checkpoints.glob("step-*")), default=0)
        yield Message(text=f"It begins after step {first}")
        yield from (replace(self._metrics(step), recalled=True) for step in range(1, first + 1))
        for step in range(first + 1, self.steps + 1):
            self._at(self, step)
            if self.died.is_set() or self.error is not None:
                return
            if self.why is not None:
                if self.why is Stop.PAUSE and step > 1:
                    yield self._checkpoint(step - 1)
                self._outcome = Outcome(step=step - 1, stopped=self.why)
                return
            yield self._metrics(step)
            if step % self._every == 0:
                yield self._checkpoint(step)
        folder = self._put(self.job.folder / MODEL, self.steps)
        self._outcome = Outcome(
            step=self.steps,
            trained_tokens=self.steps * TOKENS_PER_STEP,
            folder=folder,
            manifest=Manifest.read(folder),
        )

    def stop(self, why: Stop) -> None:
        self.why = why
        self.asked.set()

    def kill(self) -> None:
        self.died.set()

    def outcome(self) -> Outcome:
        if self.error is not None:
            raise self.error
        if self._outcome is None:
            raise TrainerKilled("The trainer was killed.")
        return self._outcome

    @property
    def _checkpoints(self) -> Path:
        return self.job.folder / CHECKPOINTS

    def _metrics(self, step: int) -> Metrics:
        values = {"train_loss": 1 / step, "train_mean_token_accuracy": step / self.steps}
        tokens = step * TOKENS_PER_STEP
        return Metrics(step=step, total_steps=self.steps, epoch=step / self.steps, values=values, tokens=tokens)

    def _checkpoint(self, step: int) -> Checkpoint:
        folder = self._put(self._checkpoints / f"step-{step}", step)
        return Checkpoint(step=step, folder=folder, values={"train_loss": 1 / step})

    def _put(self, folder: Path, step: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        replace(MANIFEST, base=self.job.base.source, steps=step).write(folder)
        return folder


def use_fakes(
    services: Services,
    *,
    prepare: Callable[[Preparing], Preparation] = FakePreparation,
    train: Callable[[TuningJob], Trainer] = FakeTrainer,
) -> None:
    """Let a service check and train with fakes, and compare nothing."""
    services.start_preparing = lambda preparing, _folder: prepare(preparing)
    services.start_trainer = train
    services.compare = lambda _tuned, _stopped: None


def put_training_file(services: Services, content: bytes | None = None, *, purpose: str = PURPOSE) -> str:
    """Upload a training file, by default of ten good examples, and give its id."""
    lines = b"".join(json.dumps({"messages": CHAT, "n": n}).encode() + b"\n" for n in range(10))
    blob = services.blobs.put(lines if content is None else content)
    with services.database.write() as session:
        return add_file(session, DEFAULT_PROJECT, filename="train.jsonl", purpose=purpose, blob=blob).id


def put_base(services: Services, name: str = "tiny") -> str:
    """Put a folder that looks like a model below the model roots, and give its name."""
    folder = services.settings.model_folders[0] / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    return name


def create_job(services: Services, **wanted: object) -> str:
    """Make a job of a base and a training file that are put there for it, and give its id."""
    fields = {"model": put_base(services), "training_file": put_training_file(services)} | wanted
    with services.database.write() as session:
        asked = WantedTuning(**fields)  # type: ignore[arg-type]
        return services.tuning.create(session, DEFAULT_PROJECT, asked, over_http=True).id
