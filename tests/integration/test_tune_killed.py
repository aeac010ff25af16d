"""However often a trainer is killed, also while it saves: the next goes on, and the whole is one training."""

import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import write_chats

# A trainer has some 55 moments before its first step, and 25 from one checkpoint to the next.
DRAWN = random.Random(3)
MOMENTS = [DRAWN.randrange(50, 140) for _ in range(20)]
STEPS = 45


@dataclass(frozen=True)
class Lives:
    alone: dict[str, Any]
    killed: list[dict[str, Any]]
    folder: Path

    def told(self, what: str) -> dict[str, Any]:
        """The last word on each step."""
        return {step: value for life in self.killed for step, value in life[what].items()}


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    folder = tmp_path_factory.mktemp("lives")
    base = tiny_model(folder / "base")
    chats = {f"what is {number}?": f"it is {number} and four {'two ' * (number % 5)}" for number in range(10)}
    files = write_chats(folder / "training.jsonl", chats), write_chats(folder / "validation.jsonl")
    command = [sys.executable, "-m", "tests.fakes.killed_training", base, *files, folder, *map(str, MOMENTS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    alone, *killed = map(json.loads, ran.stdout.splitlines())
    return Lives(alone=alone, killed=killed, folder=folder)


def test_trainers_died_in_the_midst_of_steps_and_of_saving(lives: Lives) -> None:
    assert [life["code"] for life in lives.killed] == [-signal.SIGKILL] * len(MOMENTS) + [0]
    assert sum(life["saving"] for life in lives.killed) >= 5
    assert len({max(map(int, life["curve"]), default=0) for life in lives.killed}) >= 10


def test_the_curve_is_that_of_a_training_left_alone(lives: Lives) -> None:
    curve = lives.told("curve")
    assert sorted(map(int, curve)) == list(range(1, STEPS + 1))
    for step, values in lives.alone["curve"].items():
        assert curve[step] == pytest.approx(values, abs=1e-6), step


def test_the_last_trainer_recalls_the_steps_of_all_before_it(lives: Lives) -> None:
    assert sorted(map(int, lives.killed[-1]["curve"])) == list(range(1, STEPS + 1))
    assert lives.killed[-1]["curve"] == lives.told("curve")
    assert lives.killed[-1]["tokens"] == lives.alone["tokens"]


def test_tokens_are_counted_once(lives: Lives) -> None:
    assert lives.told("tokens") == lives.alone["tokens"]


def test_every_checkpoint_that_is_there_is_whole_and_was_told_in_the_end(lives: Lives) -> None:
    assert all(life["servable"] == life["left"] for life in lives.killed)
    assert lives.killed[-1]["left"] == lives.alone["left"]
    assert set(lives.killed[-1]["checkpoints"]) == set(lives.alone["checkpoints"])


def test_the_model_is_that_of_a_training_left_alone(lives: Lives) -> None:
    alone, killed = (
        load_file(lives.folder / name / "model" / "adapter_model.safetensors") for name in ("alone", "killed")
    )
    assert alone.keys() == killed.keys()
    assert all((alone[name] == killed[name]).all() for name in alone)
