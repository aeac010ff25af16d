"""What the trainer is given and what it gives back; both are plain values that pass between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune.adapter import Manifest
from finetune.config import Settings
from finetune.events import Stop
from finetune.model import Base
from finetune.plan import Plan

CHECKPOINTS = "checkpoints"
MODEL = "model"
LOG = "trainer.log"
JOB_FILE = "job.json"

ALL_GPUS = "cuda"
"""A device: each GPU that can be seen, one process on each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """One training. `folder` is the job's own: it is made if need be, and what lies there is gone on from.

    `name` is what the model will be called, `parent` the name of the tuned model that is gone on from. `device` is
    torch's name of it, or ALL_GPUS. `plan` None is plain: a step in one pass, no gradient checkpointing. `report_to`
    names transformers' integrations (`tensorboard`, `wandb`) that are to be told as well, under `run_name` or else
    `name`; they are set up by the variables of `environment`, which the trainer's process adds to its own.
    """

    base: Base
    settings: Settings
    training_file: Path
    validation_file: Path | None = None
    folder: Path
    device: str
    plan: Plan | None = None
    name: str
    parent: str | None = None
    report_to: tuple[str, ...] = ()
    run_name: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a training ended at `step`: stopped, or with the tuned model's `folder`, which holds its `manifest`.

    `trained_tokens` counts the tokens learned from, over all epochs.
    """

    step: int
    trained_tokens: int = 0
    stopped: Stop | None = None
    folder: Path | None = None
    manifest: Manifest | None = None
