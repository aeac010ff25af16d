"""When a training evaluates and saves, and how many steps it takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.errors import TrainingFailed

if TYPE_CHECKING:
    from finetune.config import Settings
    from finetune.plan import Plan

LONGEST_STRETCH = 500
"""The most steps between two checkpoints, unless told otherwise."""

WARMUP_SHARE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The steps of a training, counted from 1. `every` null is at each epoch's end and each LONGEST_STRETCH steps."""

    epochs: int
    steps_per_epoch: int
    every: int | None = None

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def warmup(self) -> int:
        """Count the steps in which the learning rate rises. The first of them learns nothing: short runs have none."""
        return int(WARMUP_SHARE * self.steps)

    def due(self, step: int) -> bool:
        """Say whether a step is followed by an evaluation and a checkpoint."""
        if step == self.steps:
            return True
        if self.every is not None:
            return step % self.every == 0
        return step % self.steps_per_epoch == 0 or step % LONGEST_STRETCH == 0

    @property
    def checkpoints(self) -> int:
        return sum(self.due(step) for step in range(1, self.steps + 1))


def passes_of(settings: "Settings", plan: "Plan | None", processes: int) -> tuple[int, int]:
    """Give the examples of a pass and the passes of a step, for each of so many processes that share a step.

    Raises TrainingFailed if a step's examples cannot be shared out evenly.
    """
    micro_batch = plan.micro_batch if plan else settings.batch_size
    share, rest = divmod(micro_batch * plan.accumulation * plan.processes if plan else settings.batch_size, processes)
    if rest or not share:
        raise TrainingFailed(
            f"A step's {settings.batch_size} examples cannot be shared out evenly to {processes} GPUs.",
            code="uneven_batch",
            hint=f"Set batch_size to a multiple of {processes}.",
        )
    micro_batch = next(size for size in range(min(micro_batch, share), 0, -1) if share % size == 0)
    return micro_batch, share // micro_batch


def schedule_of(rows: int, *, epochs: int, micro_batch: int, accumulation: int, every: int | None) -> Schedule:
    """Count as transformers' Trainer does: a last step of an epoch may be smaller.

    `micro_batch` is of all processes together.
    """
    passes = -(-rows // micro_batch)
    return Schedule(epochs=epochs, steps_per_epoch=-(-passes // accumulation), every=every)
