"""What a trainer is put together from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config import Settings
from finetune.errors import TrainingFailed
from finetune.plan import Plan
from finetune.train.precision import Precision
from finetune.train.ranks import processes
from finetune.train.schedule import Schedule, passes_of

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


REFERENCE = "ref"
"""TRL's name for the copy of an adapter as it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything but the method. `model` has its adapter, and `new_adapter` says whether that is yet untrained.

    `reference` is the model as it was, which only a full tuning with preferences needs. `training` and `validation`
    are rows, `arguments` what transformers' TrainingArguments take whatever the method. The tokenizer has a padding
    token and is the trainer's own: what is saved is another.
    """

    settings: Settings
    model: Any
    new_adapter: bool
    reference: Any
    tokenizer: "PreTrainedTokenizerBase"
    training: "datasets.Dataset"
    validation: "datasets.Dataset | None"
    arguments: Mapping[str, Any]

    def drop_needless_reference(self) -> None:
        """Drop the copy that TRL keeps of every adapter: of a new one, the model without it is the same."""
        if self.new_adapter and REFERENCE in getattr(self.model, "peft_config", {}):
            self.model.delete_adapter(REFERENCE)


def training_arguments(
    settings: Settings,
    *,
    plan: Plan | None,
    precision: Precision,
    schedule: Schedule,
    folder: Path,
    device: str,
    name: str | None = None,
    report_to: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Give what all methods share. Logging, evaluating and saving are steered by `finetune.train.progress` alone.

    Raises TrainingFailed if one of transformers' integrations in `report_to` is not installed.
    """
    _check_integrations(report_to)
    micro_batch, accumulation = passes_of(settings, plan, processes())
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": micro_batch,
        "per_device_eval_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "num_train_epochs": settings.n_epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": schedule.warmup,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "optim": plan.optimizer if plan else "adamw_torch",
        "activation_checkpointing": plan is not None and plan.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "activation_offloading": plan is not None and plan.activation_offloading,
        "bf16": precision.autocast,
        "tf32": True if precision.autocast and device != "cpu" else None,
        "use_cpu": device == "cpu",
        "logging_strategy": "no",
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": list(report_to) or "none",
        "run_name": name,
    }


def _check_integrations(names: tuple[str, ...]) -> None:
    if not names:
        return
    from transformers.integrations import get_available_reporting_integrations

    missing = [name for name in names if name not in get_available_reporting_integrations()]
    if missing:
        raise TrainingFailed(
            f"The job is to be told to {missing[0]}, which is not installed.",
            code="not_installed",
            hint=f"Install it (pip install {missing[0]}), or leave the integration out.",
        )
