"""What a plan says that a training takes, held against CUDA's own account, at real size over random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.config import Hyperparameters, Lora, Settings, Tuning, settle
from finetune.memory.fit import fit
from finetune.memory.measure import Training, measured
from finetune.model import nf4
from finetune.plan import RESERVED_BYTES, Peaks, Plan, needed
from finetune.train.lora import attach
from finetune.train.parts import Parts, training_arguments
from finetune.train.precision import precision_of
from finetune.train.schedule import Schedule
from tests.fakes.tokenizer import tiny_tokenizer

GIB = 1 << 30
DEVICE = "cuda:0"
LONGEST = 512
STEPS = 2
"""The first has no moments of the optimizer yet."""

NEAR = 0.05
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


def settings_of(batch_size: int, **asked: Any) -> Settings:
    asked = {"lora": Lora(r=64), "hyperparameters": Hyperparameters(batch_size=batch_size)} | asked
    return settle(Tuning(seed=1, **asked), examples=batch_size, longest_input=LONGEST)


def draft(*, batch_size: int = 1, device_bytes: int = 0) -> Plan:
    return Plan(
        device=DEVICE,
        device_bytes=device_bytes,
        micro_batch=batch_size,
        accumulation=1,
        longest=LONGEST,
        gradient_checkpointing=True,
        activation_offloading=False,
        optimizer="adamw_torch_fused",
        attention="sdpa",
        steps=STEPS,
        peaks=Peaks(step=0, evaluation=0, saving=0),
        parts={},
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


def train(config: Any, settings: Settings, plan: Plan, folder: Path, device: str = DEVICE) -> None:
    """Train for some steps of the longest rows, as a job does."""
    from datasets import Dataset

    from finetune.train.session import TRAINERS

    row = {"input_ids": [1] * LONGEST, "labels": [1] * LONGEST}
    tokenizer = tiny_tokenizer(None)
    tokenizer.pad_token = tokenizer.eos_token
    trainer = TRAINERS[settings.method](
        Parts(
            settings=settings,
            model=attach(random_model(config, settings, device), settings.lora),
            new_adapter=True,
            reference=None,
            tokenizer=tokenizer,
            training=Dataset.from_list([row] * plan.micro_batch * plan.accumulation * STEPS),
            validation=None,
            arguments=training_arguments(
                replace(settings, n_epochs=1),
                plan=plan,
                precision=precision_of(config, lora=settings.lora is not None, device=device),
                schedule=Schedule(epochs=1, steps_per_epoch=STEPS),
                folder=folder,
                device=device,
            ),
        )
    )
    if device == DEVICE:
        torch.cuda.reset_peak_memory_stats()
    trainer.train()


@pytest.fixture(autouse=True)
def _emptied() -> Any:
    torch.cuda.empty_cache()
    yield
    torch.cuda.empty_cache()


@pytest.mark.parametrize("size", ["1B", "7B", "65B"])
@pytest.mark.timeout(1800)
def test_simulated_peak_is_what_cuda_allocates(size: str, tmp_path: Path) -> None:
    config, settings = llama(size), settings_of(1)
    plan = measured(Training(config=config, settings=settings), draft())
    if torch.cuda.mem_get_info()[0] < plan.needed_bytes:
        pytest.skip(f"needs {plan.needed_bytes / GIB:.0f} GiB of free GPU memory")
    train(config, settings, plan, tmp_path)
    real = torch.cuda.max_memory_allocated()
    error = plan.peaks.step / real - 1
    print(f"{size}: {plan.peaks.step / GIB:.2f} GiB simulated, {real / GIB:.2f} GiB measured, {error:+.1%}")
    assert abs(error) <= NEAR


@pytest.mark.parametrize("device_gib", [7, 8, 12])
@pytest.mark.timeout(1800)
def test_a_plan_for_a_small_gpu_trains_in_its_memory(device_gib: int, tmp_path: Path) -> None:
    """Of 7 billion parameters: with paged moments, in small passes, and in larger ones."""
    config, settings = llama("7B"), settings_of(8)
    plan = fit(Training(config=config, settings=settings), draft(batch_size=8, device_bytes=device_gib * GIB))
    assert plan.needed_bytes == needed(plan.peaks)
    allowed = device_gib * GIB - RESERVED_BYTES
    if torch.cuda.mem_get_info()[0] < device_gib * GIB:
        pytest.skip(f"needs {device_gib} GiB of free GPU memory")
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        train(config, settings, plan, tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    print(f"{device_gib} GiB: {plan.reasons}, {torch.cuda.max_memory_reserved() / GIB:.2f} GiB reserved")
