"""Fits a training to its device: the largest passes that fit, and what costs time only where it must be.

Each way to run a step is simulated, not reckoned: first with the whole batch in one pass, then with as large a part
of it as promises to fit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from finetune.config import Settings
from finetune.errors import TrainingFailed
from finetune.memory.measure import Training, in_gib, measured
from finetune.memory.remedies import refusal
from finetune.plan import ACTIVATIONS, ADAPTER, GRADIENTS, MARGIN, WEIGHTS, Peaks, Plan, needed

Measure: TypeAlias = Callable[[Plan], Plan]

BUSY_TOKENS = 2048
"""A pass of fewer leaves a device idle between its kernels: a larger one is worth computing activations twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to run a step. A last resort is slow, and taken only where nothing else fits."""

    optimizer: str
    gradient_checkpointing: bool = False
    activation_offloading: bool = False
    last_resort: bool = False

    def taken(self, plan: Plan) -> Plan:
        return replace(
            plan,
            optimizer=self.optimizer,
            gradient_checkpointing=self.gradient_checkpointing,
            activation_offloading=self.activation_offloading,
        )


WAYS = {
    "cpu": (Way(optimizer="adamw_torch"), Way(optimizer="adamw_torch", gradient_checkpointing=True)),
    "cuda": (
        Way(optimizer="adamw_torch_fused"),
        Way(optimizer="adamw_torch_fused", gradient_checkpointing=True),
        Way(optimizer="paged_adamw_8bit", gradient_checkpointing=True, last_resort=True),
        Way(optimizer="paged_adamw_8bit", gradient_checkpointing=True, activation_offloading=True, last_resort=True),
    ),
}
"""The ways on each kind of device, the fastest first and the one that takes the least memory last."""

PARTED = WAYS["cuda"][:2]
"""The ways where weights are shared out: bitsandbytes' optimizers and TRL's offloading take whole ones."""


def fit(training: Training, draft: Plan) -> Plan:
    """Complete a draft that says the device, its memory and the longest sequence. Raises DoesNotFit."""
    sharding = training.settings.sharding if draft.processes > 1 else "none"
    ways = WAYS[draft.device.partition(":")[0]]
    if sharding == "none":
        return _fitted(training, draft, ways)
    parted, reason = replace(draft, sharded=True), f"Each of {draft.processes} devices holds a part of the weights"
    if sharding == "full":
        return _fitted(training, parted, PARTED, f"{reason}, as was asked for")
    tried: list[Plan] = []
    fast = [way for way in ways if not way.last_resort]
    whole = _best(training, draft, fast, tried)
    if whole is not None:
        return replace(whole, reasons=tuple(_reasons(whole, tried)))
    least = min(plan.needed_bytes for plan in tried)
    return _fitted(training, parted, PARTED, f"{reason}, since with all of them each needs {in_gib(least)}")


def _fitted(training: Training, draft: Plan, ways: Sequence[Way], parted: str = "") -> Plan:
    """Fit a training in one of these ways; `parted` says why its weights are shared out. Raises DoesNotFit."""
    tried: list[Plan] = []
    best = _best(training, draft, ways, tried)
    if best is None:
        passes, measure = _passes(training.settings, draft.processes), partial(measured, training)
        raise refusal(training, _least(ways[-1].taken(draft), passes, measure, tried))
    return replace(best, reasons=tuple(_reasons(best, tried, parted)))


def _best(training: Training, draft: Plan, ways: Sequence[Way], tried: list[Plan]) -> Plan | None:
    """Find the best of these ways, if one fits, and add to `tried` what was measured."""
    passes = _passes(training.settings, draft.processes)
    measure = partial(measured, training)
    best: Plan | None = None
    for way in ways:
        if best is not None and (_busy(best) or way.last_resort):
            break
        found = _largest(way.taken(draft), passes, measure, tried)
        if found is not None and (best is None or found.micro_batch > best.micro_batch):
            best = found
        if best is None and _floor(tried[-1]) > draft.device_bytes:
            break
    return best


def _passes(settings: Settings, processes: int) -> list[int]:
    """Give the sizes that a pass may have, a device's whole share of a step first. Raises TrainingFailed."""
    share, smallest = settings.batch_size // processes, 2 if settings.method == "kto" else 1
    if share < smallest:
        raise TrainingFailed(
            f"KTO learns from answers side by side, and a step of {settings.batch_size} has one for each device.",
            code="uneven_batch",
            hint=f"Set batch_size to {smallest * processes} or more.",
        )
    return [size for size in range(share, smallest - 1, -1) if share % size == 0]


def _largest(draft: Plan, passes: Sequence[int], measure: Measure, tried: list[Plan]) -> Plan | None:
    """Find the largest pass that fits, and add to `tried` what was measured."""
    whole: Plan | None = None
    for micro_batch in passes:
        if whole is not None and _promised(whole, micro_batch) > draft.device_bytes:
            continue
        plan = measure(replace(draft, micro_batch=micro_batch, accumulation=passes[0] // micro_batch))
        tried.append(plan)
        if plan.fits:
            return plan
        whole = whole or plan
    return None


def _least(draft: Plan, passes: Sequence[int], measure: Measure, tried: list[Plan]) -> Plan:
    """Give the smallest pass there can be."""
    smallest = replace(draft, micro_batch=passes[-1], accumulation=passes[0] // passes[-1])
    known = [plan for plan in tried if plan.micro_batch == smallest.micro_batch and _alike(plan, draft)]
    return known[0] if known else measure(smallest)


def _promised(whole: Plan, micro_batch: int) -> int:
    """Give the least that a smaller pass can take: of the activations its share, of all else as much.

    A pass of one needs no mask for padding, which may have been most of the activations.
    """
    share = micro_batch / whole.micro_batch if micro_batch > 1 else 0
    return whole.needed_bytes - int(whole.parts[ACTIVATIONS] * (1 - share) * (1 + MARGIN))


def _floor(plan: Plan) -> int:
    """Give what no way of running a step does without: the weights, the adapter and its gradients."""
    kept = sum(plan.parts.get(part, 0) for part in (WEIGHTS, ADAPTER, GRADIENTS))
    return needed(Peaks(step=kept, evaluation=0, saving=0))


def _busy(plan: Plan) -> bool:
    return plan.accumulation == 1 or plan.micro_batch * plan.longest >= BUSY_TOKENS


def _reasons(chosen: Plan, tried: list[Plan], parted: str = "") -> Iterator[str]:
    """Say what was chosen, each time with what else it would have taken."""
    others = [plan for plan in tried if plan is not chosen]
    size = chosen.micro_batch * chosen.accumulation
    step = "a step" if chosen.processes == 1 else "a device's share of a step"
    if chosen.processes > 1:
        held = parted or f"Each of {chosen.processes} devices holds the whole model"
        yield f"{held}, and learns from {size} of a step's {size * chosen.processes} examples."
    if chosen.accumulation == 1:
        yield f"All {size} examples of {step} fit in one pass."
    else:
        larger = [plan for plan in others if _alike(plan, chosen) and plan.micro_batch > chosen.micro_batch]
        least = min(larger, key=lambda plan: plan.micro_batch)
        yield (
            f"{step.capitalize()} of {size} examples is {chosen.accumulation} passes of {chosen.micro_batch}, "
            f"since a pass of {least.micro_batch} needs {in_gib(least.needed_bytes)}."
        )
    for other in _last_of_each_way(chosen, others):
        yield f"{_named(other)} {_outcome(other, chosen)}"


def _last_of_each_way(chosen: Plan, others: list[Plan]) -> list[Plan]:
    """Of each way before the chosen one, give the smallest pass that was measured."""
    ways: dict[tuple[bool, bool, str], Plan] = {}
    for plan in others:
        if not _alike(plan, chosen):
            ways[plan.gradient_checkpointing, plan.activation_offloading, plan.optimizer] = plan
    return list(ways.values())


def _alike(plan: Plan, other: Plan) -> bool:
    return (plan.gradient_checkpointing, plan.activation_offloading, plan.optimizer) == (
        other.gradient_checkpointing,
        other.activation_offloading,
        other.optimizer,
    )


def _named(plan: Plan) -> str:
    how = "with" if plan.gradient_checkpointing else "without"
    return f"{plan.optimizer} {how} gradient checkpointing"


def _outcome(other: Plan, chosen: Plan) -> str:
    if not other.fits:
        return f"needs {in_gib(other.needed_bytes)} for a pass of {other.micro_batch}."
    if other.gradient_checkpointing:
        return "computes activations twice, and its passes are no larger."
    return f"fits {other.micro_batch} in a pass, which keeps the device less busy than {chosen.micro_batch}."
