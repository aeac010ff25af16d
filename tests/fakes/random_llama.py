"""Llamas of real sizes with random weights, made on their device and never on disk, and what trains them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from finetune.config import Settings
from finetune.model import nf4
from finetune.plan import Plan
from finetune.train.lora import attach
from finetune.train.parts import Parts, training_arguments
from finetune.train.precision import precision_of
from finetune.train.schedule import Schedule
from tests.fakes.tokenizer import tiny_tokenizer

SHAPES = {"1B": (2048, 5632, 22, 32), "7B": (4096, 11008, 32, 32), "65B": (8192, 22016, 80, 64)}


def llama(size: str) -> Any:
    from transformers import LlamaConfig

    hidden, intermediate, layers, heads = SHAPES[size]
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=32000,
        pad_token_id=0,
        dtype="bfloat16",
    )


def random_model(config: Any, settings: Settings, device: str) -> Any:
    """Give a model that was never on disk, each layer made on its device and quantized there."""
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import AutoModelForCausalLM
    from transformers.quantizers import AutoHfQuantizer

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if settings.quantization == "nf4":
        model.hf_quantizer = AutoHfQuantizer.from_config(nf4(torch.bfloat16), pre_quantized=False)
        model.hf_quantizer.preprocess_model(model=model, device_map={"": device})
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            data = torch.empty(weight.shape, dtype=torch.bfloat16, device=device).normal_(std=0.02)
            if isinstance(module, Linear4bit):
                made = Params4bit(data, requires_grad=False, quant_type="nf4", module=module).to(device)
            else:
                made = torch.nn.Parameter(data)
            setattr(module, name, made)
    # Its buffers are computed when it is made.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    if settings.quantization == "nf4":
        model.hf_quantizer.postprocess_model(model)
    return model.eval()


def parts_of(config: Any, settings: Settings, plan: Plan, folder: Path, *, steps: int, length: int) -> Parts:
    """Give what trains such a model for some steps of rows of one length, as a job does."""
    from datasets import Dataset

    tokenizer = tiny_tokenizer(None)
    tokenizer.pad_token = tokenizer.eos_token
    row = {"input_ids": [1] * length, "labels": [1] * length}
    return Parts(
        settings=settings,
        model=attach(random_model(config, settings, plan.device), settings.lora),
        new_adapter=True,
        reference=None,
        tokenizer=tokenizer,
        training=Dataset.from_list([row] * plan.micro_batch * plan.accumulation * steps),
        validation=None,
        arguments=training_arguments(
            replace(settings, n_epochs=1),
            plan=plan,
            precision=precision_of(config, lora=settings.lora is not None, device=plan.device),
            schedule=Schedule(epochs=1, steps_per_epoch=steps),
            folder=folder,
            device=plan.device,
        ),
    )
