"""A tuning job beside a bare loop of TRL's SFTTrainer with the same settings, in turns, in one process.

Both train the same adapter on the same rows, log every step and save once an epoch. A step takes more than half a
second, as real ones do. What a job does once (reading the file, the rehearsed step, parity) is left out of the ratios.
"""

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

ROUNDS = 3
EXAMPLES, BATCH, WORDS = 120, 8, 320

Moment: TypeAlias = tuple[float, float]
"""Seconds on the wall's clock and on the processor's."""


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
        base, training = material(Path(made))
        runs: dict[str, list[list[Moment]]] = {"job": [], "bare": []}
        for number in range(ROUNDS + 1):
            for name, run in (("job", job), ("bare", bare)):
                times = run(Path(made) / f"{name}-{number}", base, training)
                # The first round warms up.
                if number:
                    runs[name].append(times)
    print(json.dumps({"time": compared(runs, 0), "cpu_time": compared(runs, 1)}, indent=2))


def compared(runs: dict[str, list[list[Moment]]], clock: int) -> dict[str, Any]:
    """Compare medians over all rounds, by one of the two clocks; the processor's counts nothing that others do."""
    told = {name: [[step[clock] for step in steps] for steps in rounds] for name, rounds in runs.items()}
    steps = {name: statistics.median(step for times in rounds for step in times) for name, rounds in told.items()}
    loops = {name: statistics.median(sum(times) for times in rounds) for name, rounds in told.items()}
    return {
        "seconds_of_a_step": steps,
        "seconds_of_a_loop": loops,
        "ratio_of_a_jobs_step_to_a_bare_one": steps["job"] / steps["bare"],
        "ratio_of_a_jobs_loop_to_a_bare_one": loops["job"] / loops["bare"],
    }


def material(folder: Path) -> tuple[Path, Path]:
    from tests.fakes.tiny_model import tiny_model
    from tests.fakes.tuning_jobs import write_chats

    base = tiny_model(folder / "base", hidden=256, layers=4)
    chats = {f"what is {number}?": "it is four and two. " * (WORDS // 5) for number in range(EXAMPLES)}
    return base, write_chats(folder / "training.jsonl", chats)


def new_job(folder: Path, base: Path, training: Path) -> Any:
    from tests.fakes.tuning_jobs import job_of

    return job_of(folder, base, training, quantization="none", n_epochs=2, batch_size=BATCH)


def job(folder: Path, base: Path, training: Path) -> list[Moment]:
    """Give the seconds of each step but the first."""
    from finetune.train.material import gather
    from finetune.train.session import Session

    one = new_job(folder, base, training)
    session = Session(one, gather(one), lambda _: None, lambda: None)
    clock = clock_of(session.trainer)
    session.train()
    return clock()


def bare(folder: Path, base: Path, training: Path) -> list[Moment]:
    from trl import SFTConfig, SFTTrainer

    from finetune.train.assemble import assemble
    from finetune.train.material import gather

    one = new_job(folder, base, training)
    parts = assemble(one, gather(one))
    arguments = {**parts.arguments, "logging_strategy": "steps", "logging_steps": 1, "save_strategy": "epoch"}
    trainer = SFTTrainer(
        parts.model,
        args=SFTConfig(**arguments, max_length=None),
        train_dataset=parts.training,
        processing_class=parts.tokenizer,
    )
    clock = clock_of(trainer)
    trainer.train()
    return clock()


def clock_of(trainer: Any) -> Any:
    from transformers import TrainerCallback

    moments: list[Moment] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append((time.perf_counter(), time.process_time()))

    trainer.add_callback(Clock())
    return lambda: [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in pairwise(moments)]


if __name__ == "__main__":
    os.environ["CI"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    main()
