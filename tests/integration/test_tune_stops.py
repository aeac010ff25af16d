"""A training that is paused keeps the very step it is at and goes on from it; one that is cancelled ends at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finetune.events import Checkpoint, Message, Metrics, Stop
from finetune.job import Outcome, TuningJob
from finetune.run import tune
from finetune.train.checkpoints import newest, step_of
from finetune.train.progress import Progress
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import Told, job_of, plan_of, write_chats

CHATS = {f"what is {number}?": f"it is {number} and four {'two ' * (number % 5)}" for number in range(10)}
STEPS = 9
"""Three epochs of three steps, the last of them shorter, with a checkpoint and an evaluation every second step."""


@dataclass(frozen=True)
class Ground:
    folder: Path
    base: Path
    training: Path
    whole: Told = field(default_factory=Told)

    def job(self, name: str) -> TuningJob:
        return job_of(
            self.folder / name,
            self.base,
            self.training,
            job={"plan": plan_of(2, 2), "validation_file": self.training},
            quantization="none",
            lora={"r": 4, "dropout": 0.1},
            neftune_noise_alpha=5,
            learning_rate=1e-2,
            n_epochs=3,
            batch_size=4,
            checkpoint_steps=2,
        )


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("stops")
    ground = Ground(folder, tiny_model(folder / "base"), write_chats(folder / "training.jsonl", CHATS))
    tune(ground.job("whole"), ground.whole, lambda: None)
    return ground


@pytest.fixture(autouse=True)
def without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded for parity takes longer than a tiny training, and is proved elsewhere."""
    monkeypatch.setattr("finetune.train.result.record", lambda *_, **__: 0)


class Asking:
    """Asks for a stop when a callback of the trainer comes for the n-th time after a step was told."""

    def __init__(self, why: Stop, callback: str, step: int) -> None:
        self.told = Told()
        self.why, self.callback, self.step = why, callback, step
        self.now: Stop | None = None

    def __call__(self) -> Stop | None:
        return self.now

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        method = getattr(Progress, self.callback)

        def watched(progress: Any, args: Any, state: Any, control: Any, **named: Any) -> Any:
            if state.global_step == self.step:
                self.now = self.why
            return method(progress, args, state, control, **named)

        monkeypatch.setattr(Progress, self.callback, watched)


def stopped(ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str, asking: Asking) -> Outcome:
    with monkeypatch.context() as patched:
        asking.watch(patched)
        return tune(ground.job(name), asking.told, asking)


@pytest.mark.parametrize(
    ("callback", "step"),
    [("on_step_end", 1), ("on_step_end", 3), ("on_substep_end", 4), ("on_substep_end", 6), ("on_prediction_step", 6)],
)
def test_a_paused_training_ends_as_if_it_had_not_been(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, callback: str, step: int
) -> None:
    name = f"{callback}-{step}"
    asking = Asking(Stop.PAUSE, callback, step)
    paused = stopped(ground, monkeypatch, name, asking)
    assert (paused.stopped, paused.step) == (Stop.PAUSE, step)
    assert asking.told.checkpoints[-1] == step
    resumed = Told()
    outcome = tune(ground.job(name), resumed, lambda: None)
    assert {**asking.told.curve, **resumed.curve} == ground.whole.curve
    assert {**resumed.recalled, **resumed.curve} == ground.whole.curve
    assert sorted(resumed.curve)[0] in (step, step + 1)
    assert outcome.trained_tokens == ground.whole.events[-2].tokens  # type: ignore[union-attr]


@pytest.mark.parametrize(("callback", "step"), [("on_step_end", 3), ("on_substep_end", 7), ("on_prediction_step", 4)])
def test_a_cancelled_training_ends_within_the_step(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, callback: str, step: int
) -> None:
    asking = Asking(Stop.CANCEL, callback, step)
    outcome = stopped(ground, monkeypatch, f"cancelled-{callback}", asking)
    assert (outcome.stopped, outcome.folder) == (Stop.CANCEL, None)
    assert max(asking.told.curve) <= step
    assert max(asking.told.checkpoints) < step


def test_a_pause_before_the_first_step_keeps_nothing(ground: Ground) -> None:
    outcome = tune(ground.job("before"), Told(), lambda: Stop.PAUSE)
    assert (outcome.stopped, outcome.step) == (Stop.PAUSE, 0)
    assert newest(ground.folder / "before" / "checkpoints") is None


def test_a_training_that_ended_is_not_run_again(ground: Ground) -> None:
    again = Told()
    outcome = tune(ground.job("whole"), again, lambda: None)
    assert (outcome.step, outcome.folder) == (STEPS, ground.folder / "whole" / "model")
    assert again.events == []


def test_only_the_newest_checkpoint_holds_what_a_trainer_goes_on_from(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(ground, monkeypatch, "kept", Asking(Stop.PAUSE, "on_step_end", 5))
    folder = ground.folder / "kept" / "checkpoints"
    held = {step_of(path): (path / "optimizer.pt").exists() for path in folder.glob("step-*")}
    assert held == {2: False, 4: False, 5: True}


def test_a_resumed_training_tells_its_checkpoints_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking(Stop.PAUSE, "on_step_end", 5)
    stopped(ground, monkeypatch, "again", asking)
    resumed = Told()
    tune(ground.job("again"), resumed, lambda: None)
    before = [event for event in asking.told.events if isinstance(event, Checkpoint)]
    assert [event for event in resumed.events if isinstance(event, Checkpoint)][: len(before)] == before
    assert "Going on from the checkpoint of step 5." in resumed.sentences


def test_what_was_chosen_is_told_first(ground: Ground) -> None:
    kinds = [type(event) for event in ground.whole.events]
    assert kinds[: kinds.index(Metrics)] == [Message] * kinds.index(Metrics)
    assert "9 steps of 4 examples over 3 epochs; the learning rate falls from 0.01 to 0; seed 1." in (
        ground.whole.sentences
    )
