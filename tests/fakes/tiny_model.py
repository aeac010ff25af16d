"""Tiny causal models with random weights and a real tokenizer, written as a checkpoint that transformers loads."""

from pathlib import Path
from typing import Any, Literal

from tests.fakes.tokenizer import template_named, tiny_tokenizer


def tiny_model(
    folder: Path,
    *,
    family: Literal[
        "llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma2", "gemma3_text", "phi3", "mamba"
    ] = "llama",
    template: str | None = "qwen3",
    layers: int = 2,
    hidden: int = 64,
    seed: int = 0,
    dtype: str = "float32",
    **other: Any,
) -> Path:
    """Write a model of 4 heads of 16 (or hidden / 4) and give its folder. `template` names one that trl carries.

    `other` are further settings of the family's.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer(template_named(template) if template else None)
    shape: dict[str, Any] = {
        "vocab_size": -(-len(tokenizer) // 8) * 8,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": hidden // 4,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
        **other,
    }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape), dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.model_max_length = shape["max_position_embeddings"]
    tokenizer.save_pretrained(folder)
    return folder
