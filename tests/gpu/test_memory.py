"""What a plan says that a training takes, held against CUDA's own account, at real size over random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.config import Hyperparameters, Lora, Settings, Tuning, settle
from finetune.memory.fit import fit
from finetune.memory.measure import Training, measured
from finetune.plan import RESERVED_BYTES, Plan, needed
from tests.fakes.random_llama import llama, parts_of
from tests.fakes.tuning_jobs import plan_of

GIB = 1 << 30
DEVICE = "cuda:0"
LONGEST = 512
STEPS = 2
"""The first has no moments of the optimizer yet."""

NEAR = 0.05


def settings_of(batch_size: int, **asked: Any) -> Settings:
    asked = {"lora": Lora(r=64), "hyperparameters": Hyperparameters(batch_size=batch_size)} | asked
    return settle(Tuning(seed=1, **asked), examples=batch_size, longest_input=LONGEST)


def draft(*, batch_size: int = 1, device_bytes: int = 0) -> Plan:
    return plan_of(
        batch_size,
        device=DEVICE,
        device_bytes=device_bytes,
        longest=LONGEST,
        gradient_checkpointing=True,
        optimizer="adamw_torch_fused",
        steps=STEPS,
    )


def train(config: Any, settings: Settings, plan: Plan, folder: Path) -> None:
    """Train for some steps of the longest rows, as a job does."""
    from finetune.train.session import TRAINERS

    trainer = TRAINERS[settings.method](parts_of(config, settings, plan, folder, steps=STEPS, length=LONGEST))
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
