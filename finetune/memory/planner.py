"""Decides how a tuning will fit its device, before it starts, so that the user can be told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from finetune.errors import ModelUnavailable, sentence_of
from finetune.job import ALL_GPUS
from finetune.plan import Peaks, Plan

if TYPE_CHECKING:
    from finetune.config import Settings
    from finetune.model import Base


class Plannable(Protocol):
    """What is to be planned: a TuningJob, or as much of one."""

    @property
    def base(self) -> "Base": ...
    @property
    def settings(self) -> "Settings": ...
    @property
    def device(self) -> str: ...


def plan(
    job: Plannable,
    *,
    lengths: Sequence[int],
    validation_lengths: Sequence[int] = (),
    device_bytes: int | None = None,
    processes: int | None = None,
) -> Plan:
    """Decide how a tuning runs on its device, and measure the memory that it takes, by simulating its worst step.

    `lengths` are the tokens of each example's longest sequence, `device_bytes` what is free on each of the devices that
    `processes` share it on; None is what is free now, on those that there are. Nothing but the model's configuration is
    read. It takes seconds: up to a minute for the largest models, and several for the reasons of a refusal. Raises
    DoesNotFit, ModelUnavailable, and TrainingFailed if the devices cannot share a step evenly.
    """
    from finetune.data.packing import packed_rows
    from finetune.memory.fit import fit
    from finetune.memory.measure import Training
    from finetune.train.schedule import passes_of, schedule_of

    settings, limit = job.settings, job.settings.max_length
    cut = [length if limit is None else min(length, limit) for length in lengths]
    rows = packed_rows(cut, limit) if settings.packing and limit is not None else cut
    evaluated = [length if limit is None else min(length, limit) for length in validation_lengths]
    config = config_of(job.base)
    processes = processes or _processes(job.device)
    micro_batch, accumulation = passes_of(settings, None, processes)
    draft = Plan(
        device=job.device,
        device_bytes=free_bytes(job.device) if device_bytes is None else device_bytes,
        micro_batch=micro_batch,
        accumulation=accumulation,
        longest=max(rows),
        gradient_checkpointing=False,
        activation_offloading=False,
        optimizer="adamw_torch",
        attention=_attention(config, job.device),
        steps=0,
        peaks=Peaks(step=0, evaluation=0, saving=0),
        parts={},
        processes=processes,
    )
    training = Training(
        config=config,
        settings=settings,
        evaluated=max(evaluated, default=None),
        new_adapter=job.base.adapter is None,
    )
    found = fit(training, draft)
    schedule = schedule_of(
        len(rows),
        epochs=settings.n_epochs,
        micro_batch=found.micro_batch * processes,
        accumulation=found.accumulation,
        every=None,
    )
    return replace(found, steps=schedule.steps)


def free_bytes(device: str) -> int:
    """Give the memory that is free now: of a GPU its own, else what the machine can give without swapping.

    Of all GPUs it is that of the fullest.
    """
    if device == ALL_GPUS:
        return min(free_bytes(f"{device}:{number}") for number in range(_processes(device)))
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _processes(device: str) -> int:
    """Give how many share a training on a device that is here."""
    if device != ALL_GPUS:
        return 1
    import torch

    return max(1, int(torch.cuda.device_count()))


def config_of(base: "Base") -> Any:
    """Read a model's configuration, without its weights. Raises ModelUnavailable."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(base.source, revision=base.revision)
    except (OSError, ValueError, KeyError) as exc:
        raise ModelUnavailable(
            f"The configuration of {base.source!r} cannot be read: {sentence_of(exc)}",
            hint="Give a directory with the model's config.json, or a hub id that can be reached or is in the cache.",
        ) from exc


def _attention(config: Any, device: str) -> str:
    """Flash attention needs no mask for padding, so it is taken where it is installed; it computes in 16 bits only."""
    from importlib.util import find_spec

    from finetune.train.precision import precision_of

    short = precision_of(config, lora=True, device=device).autocast
    return "flash_attention_2" if short and device.startswith("cuda") and find_spec("flash_attn") else "sdpa"
