"""A job's trainer beside TRL's own with the same settings, over 7 billion random parameters in NF4, in turns."""

import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.config import Hyperparameters, Lora, Settings, Tuning, settle
from tests.fakes.random_llama import llama, parts_of
from tests.fakes.tuning_jobs import plan_of

SIZE, DEVICE = "7B", "cuda:0"
LENGTH, BATCH, STEPS, ROUNDS = 512, 4, 12, 3


def settings_of() -> Settings:
    tuning = Tuning(seed=1, lora=Lora(r=64), hyperparameters=Hyperparameters(batch_size=BATCH))
    return settle(tuning, examples=BATCH, longest_input=LENGTH)


PLAN = plan_of(BATCH, device=DEVICE, longest=LENGTH, gradient_checkpointing=True, steps=STEPS)


def trainer_of(kind: str, folder: Path) -> Any:
    from trl import SFTConfig, SFTTrainer

    from finetune.train.session import TRAINERS

    torch.manual_seed(1)
    parts = parts_of(llama(SIZE), settings_of(), PLAN, folder, steps=STEPS, length=LENGTH)
    if kind == "job":
        return TRAINERS["supervised"](parts)
    return SFTTrainer(
        parts.model,
        args=SFTConfig(**parts.arguments, max_length=None),
        train_dataset=parts.training,
        processing_class=parts.tokenizer,
    )


def run(kind: str, folder: Path) -> tuple[list[float], float]:
    """Give the seconds of each step but the first, and the mean loss."""
    from transformers import TrainerCallback

    moments: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if DEVICE.startswith("cuda"):
                torch.cuda.synchronize()
            moments.append(time.perf_counter())

    trainer = trainer_of(kind, folder)
    trainer.add_callback(Clock())
    loss = trainer.train().training_loss
    return [later - earlier for earlier, later in pairwise(moments)], loss


@pytest.mark.timeout(3600)
def test_a_job_learns_what_a_bare_loop_does_and_says_how_fast(tmp_path: Path) -> None:
    steps: dict[str, list[float]] = {"job": [], "bare": []}
    losses: dict[str, set[float]] = {"job": set(), "bare": set()}
    for number in range(ROUNDS):
        for kind in steps:
            seconds, loss = run(kind, tmp_path / f"{kind}-{number}")
            steps[kind] += seconds
            losses[kind].add(loss)
    speed = {kind: LENGTH * BATCH / statistics.median(seconds) for kind, seconds in steps.items()}
    print(f"{SIZE}: {speed['job']:,.0f} tokens/s, bare {speed['bare']:,.0f}: {speed['job'] / speed['bare']:.3f} of it")
    assert sorted(losses["job"]) == pytest.approx(sorted(losses["bare"]), rel=1e-2)
