"""How a tuning will fit its device: decided, and told to the user, before it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from finetune.errors import ModelUnavailable

if TYPE_CHECKING:
    from finetune.config import Settings
    from finetune.model import Base

WEIGHTS, ADAPTER, GRADIENTS, OPTIMIZER, ACTIVATIONS = "weights", "adapter", "gradients", "optimizer", "activations"
"""What the memory of a step is made of. Activations are all that is in none of the others."""

MARGIN = 0.05
"""What is left free above the simulated peak: for the workspace of kernels and the holes in an allocator's memory."""

RESERVED_BYTES = 1 << 30
"""What a trainer takes beside its tensors: the interpreter and libraries, on a GPU CUDA's context and kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The most memory held at once, in bytes: in the worst training step, in evaluation, and while saving."""

    step: int
    evaluation: int
    saving: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step of `batch_size` examples is `accumulation` passes of `micro_batch`.

    `parts` says what the peak of a step is made of, in bytes. `optimizer` and `attention` are transformers' names.
    `steps` is the number of optimizer steps, `longest` the tokens of the longest sequence that is trained on.
    `needed_bytes` is the highest peak with what is left free above it, `reasons` are sentences for people.
    """

    device: str
    device_bytes: int
    micro_batch: int
    accumulation: int
    longest: int
    gradient_checkpointing: bool
    activation_offloading: bool
    optimizer: str
    attention: str
    steps: int
    peaks: Peaks
    parts: Mapping[str, int]
    needed_bytes: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.device_bytes


class Plannable(Protocol):
    """What is to be planned: a TuningJob, or as much of one."""

    @property
    def base(self) -> "Base": ...
    @property
    def settings(self) -> "Settings": ...
    @property
    def device(self) -> str: ...


def plan(
    job: Plannable, *, lengths: Sequence[int], validation_lengths: Sequence[int] = (), device_bytes: int | None = None
) -> Plan:
    """Decide how a tuning runs on its device, and measure the memory that it takes, by simulating its worst step.

    `lengths` are the tokens of each example's longest sequence, `device_bytes` what is free, None what is free now.
    Nothing but the model's configuration is read. It takes seconds: up to a minute for the largest models, and several
    for the reasons of a refusal. Raises DoesNotFit, ModelUnavailable.
    """
    from finetune.fit import fit
    from finetune.measure import Training
    from finetune.packing import packed_rows
    from finetune.schedule import schedule_of

    settings, limit = job.settings, job.settings.max_length
    cut = [length if limit is None else min(length, limit) for length in lengths]
    rows = packed_rows(cut, limit) if settings.packing and limit is not None else cut
    evaluated = [length if limit is None else min(length, limit) for length in validation_lengths]
    config = config_of(job.base)
    draft = Plan(
        device=job.device,
        device_bytes=free_bytes(job.device) if device_bytes is None else device_bytes,
        micro_batch=settings.batch_size,
        accumulation=1,
        longest=max(rows),
        gradient_checkpointing=False,
        activation_offloading=False,
        optimizer="adamw_torch",
        attention=_attention(config, job.device),
        steps=0,
        peaks=Peaks(step=0, evaluation=0, saving=0),
        parts={},
    )
    training = Training(
        config=config,
        settings=settings,
        evaluated=max(evaluated, default=None),
        new_adapter=job.base.adapter is None,
    )
    found = fit(training, draft)
    schedule = schedule_of(
        len(rows), epochs=settings.n_epochs, micro_batch=found.micro_batch, accumulation=found.accumulation, every=None
    )
    return replace(found, steps=schedule.steps)


def needed(peaks: Peaks) -> int:
    """Give the memory that must be free for a training with these peaks."""
    return int(max(peaks.step, peaks.evaluation, peaks.saving) * (1 + MARGIN)) + RESERVED_BYTES


def free_bytes(device: str) -> int:
    """Give the memory that is free now: of a GPU its own, else what the machine can give without swapping."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def config_of(base: "Base") -> Any:
    """Read a model's configuration, without its weights. Raises ModelUnavailable."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(base.source, revision=base.revision)
    except (OSError, ValueError, KeyError) as exc:
        line = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise ModelUnavailable(
            f"The configuration of {base.source!r} cannot be read: {line}",
            hint="Give a directory with the model's config.json, or a hub id that can be reached or is in the cache.",
        ) from exc


def _attention(config: Any, device: str) -> str:
    """Flash attention needs no mask for padding, so it is taken where it is installed; it computes in 16 bits only."""
    from importlib.util import find_spec

    from finetune.precision import precision_of

    short = precision_of(config, lora=True, device=device).autocast
    return "flash_attention_2" if short and device.startswith("cuda") and find_spec("flash_attn") else "sdpa"
