"""The one door to PEFT: an adapter put on a model, and taken care of while others handle it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config import ALL_LINEAR, Lora
from finetune.errors import TrainingFailed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"
"""PEFT's name for a model's first adapter."""


def attach(
    model: "PreTrainedModel", lora: Lora | None, *, adapter: Path | None = None, seed: int = 0, reward: bool = False
) -> Any:
    """Give the model ready to be trained: with a new adapter, with one to go on from, or as it is to tune it all.

    An adapter's weights are float32. One that is gone on from keeps its rank and targets, whatever `lora` says.
    Raises TrainingFailed if `lora` names layers that the model does not have.
    """
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import set_seed

    if adapter is not None:
        return PeftModel.from_pretrained(model, adapter, is_trainable=True)
    if lora is None:
        return model
    config = LoraConfig(
        # PEFT trains and keeps the head of a model that classifies beside its adapter.
        task_type="SEQ_CLS" if reward else "CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.alpha or 2 * lora.r,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if lora.targets == ALL_LINEAR else list(lora.targets),
    )
    set_seed(seed)
    try:
        return get_peft_model(model, config)
    except ValueError as exc:
        raise TrainingFailed(
            f"No adapter can be put on this model: {exc}",
            code="unknown_targets",
            hint=f"Set lora.targets to {ALL_LINEAR!r}, or to names of the model's linear layers.",
        ) from exc


@contextmanager
def unrounded(model: Any) -> Iterator[None]:
    """Keep the trainable weights as they are: TRL's trainers round an adapter on quantized weights to bfloat16."""
    kept = {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
    yield
    for name, weight in model.named_parameters():
        if name in kept:
            weight.data = kept[name]
