"""What a training tells while it runs, and how it is told to stop. Whoever starts it supplies both ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["info", "warn", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A sentence for people."""

    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What was measured at a step, the first being 1, of `total_steps`.

    `values` has OpenAI's names: `train_loss`, `train_mean_token_accuracy`, `valid_loss`, `valid_mean_token_accuracy`,
    `full_valid_loss`…; for preferences also `rewards_chosen`, `rewards_rejected`, `rewards_margins`,
    `rewards_accuracies`; and `learning_rate`. `tokens` counts those learned from so far. A step that is run again
    after a crash is told again: the later word counts. `recalled` are steps of an earlier trainer's, told once more by
    the one that goes on from its checkpoint, since whoever listened may have died before they were written down.
    """

    step: int
    total_steps: int
    epoch: float
    values: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    recalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that is whole on disk: an adapter (or model) that can be served lies in `folder`."""

    step: int
    folder: Path
    values: Mapping[str, float] = field(default_factory=dict)


Event: TypeAlias = Message | Metrics | Checkpoint
EventSink: TypeAlias = Callable[[Event], None]


class Stop(StrEnum):
    """Why a training is to stop: a pause keeps a checkpoint of the very step to go on from."""

    PAUSE = "pause"
    CANCEL = "cancel"


ShouldStop: TypeAlias = Callable[[], Stop | None]
"""Asked at every step, and between the parts of a step; it must be quick."""
