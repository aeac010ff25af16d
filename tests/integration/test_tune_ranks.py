"""Two processes that share each step are one training. Here on the CPU; on GPUs the same path runs over NCCL."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.adapter import Manifest
from finetune.errors import TrainingFailed
from finetune.job import TuningJob
from finetune.processes.wire import JOB
from finetune.run import tune
from finetune.train.schedule import passes_of
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tuning_jobs import Told, job_of, plan_of, write_chats, write_pairs
from tests.fakes.two_processes import said_by_two

CHATS = {f"what is {number}?": f"it is {'four ' * number}." for number in range(8)}


def test_two_processes_train_what_one_would(tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    files = {
        "supervised": write_chats(tmp_path / "chats.jsonl", CHATS),
        "dpo": write_pairs(tmp_path / "pairs.jsonl", times=4),
    }

    def job(name: str, method: str) -> TuningJob:
        chosen = {"plan": plan_of(2, 2), "validation_file": files[method]}
        recipe = {"method": method, "quantization": "none", "learning_rate": 5e-3, "n_epochs": 2, "batch_size": 4}
        return job_of(tmp_path / f"{name}-{method}", base, files[method], job=chosen, **recipe)

    described = []
    for method in files:
        described.append(tmp_path / f"{method}.json")
        described[-1].write_bytes(JOB.dump_json(job("shared", method)))
    first, _ = said_by_two("tests.fakes.ranked_training", described, tmp_path)
    shared = [json.loads(line) for line in first.splitlines()]
    for method, two in zip(files, shared, strict=True):
        alone = Told()
        outcome = tune(job("alone", method), alone, lambda: None)
        assert two["tokens"] == outcome.trained_tokens
        for step, values in alone.curve.items():
            assert two["curve"][str(step)] == pytest.approx(values, rel=1e-3, abs=1e-5), (method, step)
        assert Manifest.read(Path(two["folder"])).steps == 4


@pytest.mark.parametrize(
    ("plan", "processes", "expected"),
    [((8, 1), 1, (8, 1)), ((8, 1), 2, (4, 1)), ((2, 4), 2, (2, 2)), ((1, 8), 8, (1, 1)), ((4, 3), 3, (4, 1))],
)
def test_a_step_is_shared_out(plan: tuple[int, int], processes: int, expected: tuple[int, int]) -> None:
    assert passes_of(settings_of(plan[0] * plan[1]), plan_of(*plan), processes) == expected


@pytest.mark.parametrize(("processes", "expected"), [(2, (2, 2)), (1, (2, 4)), (4, (2, 1)), (8, (1, 1))])
def test_a_step_that_was_planned_for_two_is_shared_out_to_any(processes: int, expected: tuple[int, int]) -> None:
    assert passes_of(settings_of(8), plan_of(2, 2, processes=2), processes) == expected


def test_a_step_that_cannot_be_shared_out_evenly_is_refused() -> None:
    with pytest.raises(TrainingFailed, match="8 examples cannot be shared out evenly to 3 GPUs"):
        passes_of(settings_of(8), None, 3)


def settings_of(batch_size: int) -> Any:
    from finetune.config import Tuning, settle

    return settle(Tuning.model_validate({"hyperparameters": {"batch_size": batch_size}}), examples=9, longest_input=9)
