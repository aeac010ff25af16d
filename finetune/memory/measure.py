"""What is planned, and a plan with what its simulation took."""

from dataclasses import dataclass, replace
from typing import Any

from finetune.config import Settings
from finetune.plan import Plan, needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training of a model of which only the configuration is known.

    `evaluated` is the tokens of the longest sequence of an evaluation, None where it is that of the training.
    `new_adapter` is as Parts have it.
    """

    config: Any
    settings: Settings
    evaluated: int | None = None
    new_adapter: bool = True


def measured(training: Training, plan: Plan) -> Plan:
    """Simulate a training as the plan has it."""
    from finetune.memory.simulate import simulate

    found = simulate(training, plan)
    return replace(plan, peaks=found.peaks, parts=dict(found.parts), needed_bytes=needed(found.peaks))


def count_parameters(config: Any) -> int:
    """Count the weights of a causal model, without making one."""
    import torch

    from finetune.memory.fake import shapes

    return sum(weight.numel() for weight in shapes(config, torch.bfloat16).parameters())


def in_gib(size_bytes: int) -> str:
    """Give a number of bytes for people."""
    return f"{size_bytes / 2**30:,.1f} GiB"
