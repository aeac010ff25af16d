"""A tuned model's weights, written as PEFT and transformers read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.train.lora import ADAPTER


def save_weights(model: Any, folder: Path, state: Mapping[str, Any] | None = None) -> None:
    """Write an adapter, or a model that is tuned as a whole, as safetensors with its configuration.

    `state` is its state dict where that had to be gathered from several devices.
    """
    from peft import PeftModel

    if isinstance(model, PeftModel):
        # Told "auto", PEFT would ask the hub whether the vocabulary has grown.
        model.save_pretrained(folder, selected_adapters=[ADAPTER], save_embedding_layers=False, state_dict=state)
        (folder / "README.md").unlink(missing_ok=True)
        return
    model.config.use_cache, trained_without = True, model.config.use_cache
    model.save_pretrained(folder, state_dict=state)
    model.config.use_cache = trained_without
