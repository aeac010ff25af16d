"""Tuned models that no training made: adapters with random weights over a tiny model, with their passports."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.adapter import Manifest, base_hash, tokenizer_hash
from prompts.chat_format import template_hash, template_of
from tests.fakes.tuned import MANIFEST


def tiny_adapter(
    folder: Path,
    base: Path,
    *,
    seed: int = 1,
    rank: int = 4,
    targets: Any = "all-linear",
    dropout: float = 0,
    **passport: Any,
) -> Manifest:
    """Write an adapter that changes what the base says, and give its manifest; `passport` are fields of that."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=16 * rank, target_modules=targets, lora_dropout=dropout
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.1)
    model.save_pretrained(folder)
    return passport_of(folder, base, kind="adapter", **passport)


def tiny_tuned_whole(folder: Path, base: Path, **passport: Any) -> Manifest:
    """Write a model that was tuned whole: a copy, with a manifest of its own."""
    shutil.copytree(base, folder)
    return passport_of(folder, base, kind="full", **passport)


def passport_of(folder: Path, base: Path, **fields: Any) -> Manifest:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(folder)
    made = replace(
        MANIFEST,
        base=str(base),
        base_sha256=base_hash(base),
        template_sha256=template_hash(template_of(tokenizer)),
        tokenizer_sha256=tokenizer_hash(tokenizer),
    )
    manifest = replace(made, **fields)
    manifest.write(folder)
    return manifest
