"""Checkpoints that are whole or absent, whenever the power goes.

    checkpoints/step-40/     what serving needs (weights, tokenizer, manifest) and, in the newest, the trainer's state
    checkpoints/.new/        one that is being written

A folder gets its name when all that is in it is on the disk; what has no name is thrown away.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.adapter import Manifest
from finetune.errors import TrainingFailed
from finetune.events import Checkpoint

NEW = ".new"
PREFIX = "step-"
TRAINER_STATE = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth", "trainer_state.json")
"""What transformers' Trainer keeps to go on from, by its own names."""

SPARE_BYTES = 64 << 20
"""Room for logs, tokens and manifests."""


def named(folder: Path, step: int) -> Path:
    """Give the folder of a step's checkpoint, there or not."""
    return folder / f"{PREFIX}{step}"


def step_of(checkpoint: Path) -> int:
    """Give the step of a checkpoint's folder."""
    return int(checkpoint.name.removeprefix(PREFIX))


def whole(folder: Path) -> list[Path]:
    """Give the checkpoints there are, the newest last."""
    return sorted(folder.glob(f"{PREFIX}*"), key=step_of)


def newest(folder: Path) -> Path | None:
    """Give the checkpoint to go on from."""
    return next(reversed(whole(folder)), None)


def recalled(folder: Path) -> Iterator[Checkpoint]:
    """Give the word of every checkpoint there is: a crash may have come between one and its own."""
    for checkpoint in whole(folder):
        metrics = Manifest.read(checkpoint).metrics
        yield Checkpoint(step=step_of(checkpoint), folder=checkpoint, values=metrics)


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `target`, not there before, at the end. If that fails, it goes."""
    new = target.parent / NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in [*new.rglob("*"), new]:
            sync(path)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    sync(target.parent)


def drop_trainer_state(folder: Path, *, keep: int) -> None:
    """Keep of all checkpoints but the newest so many only what can be served."""
    found = whole(folder)
    for checkpoint in found[: len(found) - keep]:
        for pattern in TRAINER_STATE:
            for path in checkpoint.glob(pattern):
                path.unlink()


def check_space(folder: Path, *, checkpoints: int, weights: int, state: int) -> None:
    """Raise TrainingFailed unless there is room for so many checkpoints and the result.

    `weights` is the size in bytes of what is served, `state` of what the trainer keeps beside. While a checkpoint is
    written, the state of the one before it is there too.
    """
    needed = (checkpoints + 1) * weights + 2 * state + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingFailed(
            f"There is not enough disk: {checkpoints} checkpoints and the model take {_gigabytes(needed)}, "
            f"and {_gigabytes(free)} are free.",
            code="disk_full",
            hint="Free some, or save less often with checkpoint_steps.",
        )


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
