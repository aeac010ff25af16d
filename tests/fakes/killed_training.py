"""Trains in processes that kill themselves, without warning, one after the other, and in one that is left alone.

    python -m tests.fakes.killed_training BASE TRAINING VALIDATION FOLDER MOMENT...

FOLDER/alone is trained in one life, FOLDER/killed in as many as there are moments to die at, and one to the end.
A moment is a step or a part of one, or anything done to a file of the job's folder, so that many fall within saving.
Prints a JSON object a life: how it ended, what it told, and the checkpoints that it left.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from finetune.adapter import Manifest
from finetune.events import Checkpoint, Event, Metrics
from finetune.job import CHECKPOINTS, TuningJob
from finetune.run import tune
from finetune.tokenizer import load_tokenizer
from finetune.train import result
from finetune.train.checkpoints import NEW, step_of, whole
from finetune.train.progress import Progress
from tests.fakes.tuning_jobs import job_of, plan_of

NEVER = 10**9
FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def killed_job(base: Path, training: Path, validation: Path, folder: Path) -> TuningJob:
    """A job with all that a resumed one can get wrong: dropout, noise, parts of steps, a short last step, epochs."""
    return job_of(
        folder,
        base,
        training,
        job={"plan": plan_of(2, 2), "validation_file": validation},
        quantization="none",
        lora={"r": 4, "dropout": 0.1},
        neftune_noise_alpha=5,
        learning_rate=1e-2,
        n_epochs=15,
        batch_size=4,
        checkpoint_steps=2,
    )


def live(job: TuningJob, moment: int, pipe: int) -> None:
    """Train, and die at a moment of it."""
    told: list[Event] = []
    moments = count(1)

    def passing() -> int:
        now = next(moments)
        if now == moment:
            os.write(pipe, report(job, now, told))
            os.kill(os.getpid(), signal.SIGKILL)
        return now

    note_files(job.folder, passing)
    # It takes longer than a tiny training, and writes nothing that one goes on from.
    result.record = lambda *_, **__: 0
    for name in ("on_step_end", "on_substep_end", "on_prediction_step"):
        note(Progress, name, passing)
    tune(job, told.append, lambda: None)
    os.write(pipe, report(job, next(moments), told))


def note(owner: Any, name: str, passing: Callable[[], int]) -> None:
    method = getattr(owner, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        passing()
        return method(*arguments, **named)

    setattr(owner, name, noted)


def note_files(folder: Path, passing: Callable[[], int]) -> None:
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        passing()
        fsync(descriptor)

    os.fsync = synced

    def heard(name: str, arguments: tuple[Any, ...]) -> None:
        if name in FILE_EVENTS and str(arguments[0]).startswith(str(folder)):
            passing()

    sys.addaudithook(heard)


def report(job: TuningJob, moment: int, told: list[Event]) -> bytes:
    return json.dumps(
        {
            "moment": moment,
            "curve": {event.step: dict(event.values) for event in told if isinstance(event, Metrics)},
            "tokens": {event.step: event.tokens for event in told if isinstance(event, Metrics)},
            "checkpoints": [event.step for event in told if isinstance(event, Checkpoint)],
            "saving": (job.folder / CHECKPOINTS / NEW).exists(),
        }
    ).encode()


def life(job: TuningJob, moment: int) -> None:
    """Let a child live, and tell of it."""
    said, saying = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        live(job, moment, saying)
        os._exit(0)
    os.close(saying)
    with os.fdopen(said, "rb") as pipe:
        heard = json.loads(pipe.read())
    heard["code"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    heard["servable"] = [step_of(path) for path in whole(job.folder / CHECKPOINTS) if servable(path)]
    heard["left"] = [step_of(path) for path in whole(job.folder / CHECKPOINTS)]
    print(json.dumps(heard), flush=True)


@cache
def servable(checkpoint: Path) -> bool:
    """Say whether all can be read that serving needs. Raises what keeps it from that."""
    load_tokenizer(str(checkpoint))
    return bool(load_file(checkpoint / "adapter_model.safetensors")) and Manifest.read(checkpoint).kind == "adapter"


def main() -> None:
    base, training, validation, folder = map(Path, sys.argv[1:5])
    # A process that has begun threads cannot be forked.
    torch.set_num_threads(1)
    life(killed_job(base, training, validation, folder / "alone"), NEVER)
    for moment in [*map(int, sys.argv[5:]), NEVER]:
        life(killed_job(base, training, validation, folder / "killed"), moment)


if __name__ == "__main__":
    main()
