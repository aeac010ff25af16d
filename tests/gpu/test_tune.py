"""The trainer on a GPU: what is there only, and what must hold there as it does on the CPU."""

from pathlib import Path
from typing import Any

import pytest

from finetune.events import Metrics, Stop
from finetune.job import ALL_GPUS
from finetune.processes.process import start
from finetune.run import tune
from tests.fakes.tuning_jobs import FACTS, Told, answer_of, job_of, plan_of, teachable_model, write_chats

CHATS = {f"what is {number}?": f"it is {number} and four {'two ' * (number % 5)}" for number in range(10)}


def on(device: str, folder: Path, base: Path, training: Path, *, plan: Any = None, **recipe: Any) -> Any:
    from dataclasses import replace

    return replace(job_of(folder, base, training, job={"plan": plan}, **recipe), device=device)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_way_to_spare_memory_still_teaches(tmp_path: Path, dtype: str) -> None:
    base = teachable_model(tmp_path / "base", hidden=256, dtype=dtype)
    training = write_chats(tmp_path / "training.jsonl", times=4)
    sparing = plan_of(
        2, 2, gradient_checkpointing=True, activation_offloading=True, optimizer="paged_adamw_8bit", attention="sdpa"
    )
    recipe = {"quantization": "nf4", "learning_rate": 5e-3, "n_epochs": 20, "batch_size": 4, "checkpoint_steps": 100}
    outcome = tune(on("cuda:0", tmp_path / "job", base, training, plan=sparing, **recipe), Told(), lambda: None)
    assert outcome.folder is not None
    asked, answer = next(iter(FACTS.items()))
    assert answer in answer_of(base, outcome.folder, asked, quantization="nf4")


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path, quantization: str) -> None:
    base = teachable_model(tmp_path / "base", hidden=256, dtype="bfloat16")
    training = write_chats(tmp_path / "training.jsonl", CHATS)

    def job(name: str) -> Any:
        recipe = {"lora": {"dropout": 0.1}, "n_epochs": 3, "batch_size": 4, "checkpoint_steps": 2}
        return on("cuda:0", tmp_path / name, base, training, quantization=quantization, **recipe)

    whole = Told()
    tune(job("whole"), whole, lambda: None)
    paused = Told(why=Stop.PAUSE, when=lambda event: isinstance(event, Metrics) and event.step == 5)
    tune(job("paused"), paused, paused.should_stop)
    resumed = Told()
    tune(job("paused"), resumed, lambda: None)
    curve = {**paused.curve, **resumed.curve}
    for step, values in whole.curve.items():
        assert curve[step] == pytest.approx(values, rel=2e-2, abs=1e-3), step


@pytest.mark.parametrize(
    "way", [{"quantization": "none"}, {"quantization": "none", "sharding": "full"}, {"sharding": "full"}]
)
def test_all_gpus_share_each_step(tmp_path: Path, way: dict[str, str]) -> None:
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("there is one GPU only")
    base = teachable_model(tmp_path / "base", hidden=256)
    training = write_chats(tmp_path / "training.jsonl", CHATS)
    recipe = {**way, "n_epochs": 2, "batch_size": 2 * count}
    alone = Told()
    tune(on("cuda:0", tmp_path / "alone", base, training, **recipe), alone, lambda: None)
    trainer = start(on(ALL_GPUS, tmp_path / "shared", base, training, **recipe))
    curve = {event.step: event.values for event in trainer.events() if isinstance(event, Metrics)}
    assert trainer.outcome().folder is not None
    assert curve[1] == pytest.approx(alone.curve[1], rel=1e-2, abs=1e-4)
