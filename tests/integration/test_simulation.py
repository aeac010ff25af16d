"""Trainings simulated from configurations alone: sizes that papers report, and what runs only on a GPU."""

import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from finetune.config import Hyperparameters, Lora, Settings, Tuning, settle
from finetune.memory.measure import Training
from finetune.memory.simulate import Measured, simulate
from finetune.plan import Plan
from tests.fakes.tuning_jobs import plan_of

GIB = 1 << 30
GPU = "cuda:0"


def llama(hidden: int, intermediate: int, layers: int, heads: int, *, vocabulary: int = 32000) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=vocabulary,
        dtype="bfloat16",
    )


def settings_of(**asked: Any) -> Settings:
    asked = {"lora": Lora(r=64), "hyperparameters": Hyperparameters(batch_size=1)} | asked
    return settle(Tuning(**asked), examples=100, longest_input=None)


PLAN = plan_of(device=GPU, longest=512, gradient_checkpointing=True, optimizer="adamw_torch_fused", steps=1)


def simulated(config: Any, plan: Plan = PLAN, **asked: Any) -> Measured:
    return simulate(Training(config=config, settings=settings_of(**asked)), plan)


@pytest.fixture(scope="module")
def small() -> Any:
    return llama(256, 768, 3, 4, vocabulary=1000)


def test_qlora_of_7_billion_parameters_takes_what_its_paper_says() -> None:
    """arXiv 2305.14314 tunes models of 7 billion on consumer GPUs, at 5 to 6 GB with 16-bit moments and no head."""
    began = time.perf_counter()
    measured = simulated(llama(4096, 11008, 32, 32))
    took = time.perf_counter() - began
    parts = {part: f"{size / GIB:.2f}" for part, size in measured.parts.items()}
    print(f"7B: {measured.peaks.step / GIB:.2f} GiB, of which {parts}; simulated in {took:.0f} s")
    assert 5.5 * GIB < measured.peaks.step < 6.5 * GIB
    # 6.48 billion weights of half a byte, and a byte and a 64th of scales for each 64 of them.
    quantized = 6_476_005_376 * (0.5 + (1 + 4 / 256) / 64)
    embeddings = 2 * 32000 * 4096 * 2
    assert measured.parts["weights"] == pytest.approx(quantized + embeddings, rel=0.001)
    # Float32, of rank 64 on every linear layer.
    assert measured.parts["adapter"] == pytest.approx(4 * 159_907_840, rel=0.001)


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused"])
def test_an_optimizer_takes_a_devices_part_of_weights_that_are_shared_out(small: Any, optimizer: str) -> None:
    short = replace(PLAN, longest=8, processes=2, sharded=True, optimizer=optimizer)
    measured = simulated(small, short, lora=Lora(r=256))
    # Of each trained weight itself, its gradient and two moments; beside them what one layer takes.
    trained = 4 * measured.parts["adapter"]
    assert measured.peaks.step < 2 * (trained + measured.parts["weights"])


def test_checkpointing_takes_less(small: Any) -> None:
    without = replace(PLAN, gradient_checkpointing=False)
    assert simulated(small).peaks.step < simulated(small, without).peaks.step


def test_offloading_takes_less_than_checkpointing(small: Any) -> None:
    long = replace(PLAN, longest=2048, micro_batch=2)
    offloaded = simulated(small, replace(long, activation_offloading=True))
    assert offloaded.peaks.step < simulated(small, long).peaks.step


def test_paged_moments_are_not_on_the_device(small: Any) -> None:
    paged = simulated(small, replace(PLAN, optimizer="paged_adamw_8bit"), lora=Lora(r=512))
    assert paged.parts["optimizer"] < 0.05 * paged.parts["adapter"]


def test_moments_take_twice_what_is_trained(small: Any) -> None:
    measured = simulated(small)
    assert measured.parts["optimizer"] == pytest.approx(2 * measured.parts["adapter"], rel=0.01)


def test_a_device_of_two_keeps_its_gradients_twice(small: Any) -> None:
    passes = replace(PLAN, accumulation=2)
    alone, shared = simulated(small, passes).parts, simulated(small, replace(passes, processes=2)).parts
    assert shared["gradients"] - alone["gradients"] == pytest.approx(shared["adapter"], rel=0.01)
    assert {**shared, "gradients": 0, "activations": 0} == {**alone, "gradients": 0, "activations": 0}
    assert not torch.distributed.is_initialized()


def test_a_gpu_folds_logits_where_they_lie() -> None:
    wide = llama(256, 768, 1, 4, vocabulary=32768)
    logits = 512 * 32768 * 2
    on_gpu, on_cpu = simulated(wide), simulated(wide, replace(PLAN, device="cpu"))
    assert on_gpu.parts["activations"] < 3 * logits < on_cpu.parts["activations"]


def test_flash_attention_needs_no_mask_for_padding(small: Any) -> None:
    padded = replace(PLAN, micro_batch=2, longest=1024, gradient_checkpointing=False)
    masked = simulated(small, padded).peaks.step
    assert simulated(small, replace(padded, attention="flash_attention_2")).peaks.step < masked


def test_a_tied_head_counts_once() -> None:
    tied, untied = llama(256, 768, 1, 4), llama(256, 768, 1, 4)
    tied.tie_word_embeddings = True
    embeddings = 32000 * 256 * 2
    saved = simulated(untied).parts["weights"] - simulated(tied).parts["weights"]
    assert saved == pytest.approx(embeddings, abs=4096)


def test_a_simulation_leaves_nothing_fake_behind(small: Any) -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    simulated(small)
    weight = torch.linspace(-1, 1, 64 * 64).reshape(64, 64)
    packed, state = quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    assert torch.allclose(dequantize_4bit(packed, state), weight, atol=0.2)
    assert type(torch.zeros(1)) is torch.Tensor
