"""Adapters within a pass, each held against PEFT's own forward of the same layers."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from services.engines.local.adapters import Adapters
from services.engines.local.runs import Span
from services.engines.local.stacks import Adapter

WIDTH = 16

SETTINGS: Sequence[Mapping[str, Any]] = (
    {"r": 4, "target_modules": ["up_proj", "down_proj"]},
    {"r": 4, "target_modules": ["up_proj", "down_proj"]},
    {"r": 4, "target_modules": ["down_proj"], "lora_alpha": 3},
    {"r": 2, "target_modules": ["up_proj", "down_proj"], "use_rslora": True},
    {"r": 4, "target_modules": ["up_proj", "down_proj"]},
)


class Layers(torch.nn.Module):  # type: ignore[misc]
    """As a model has them, but of which each token is read for itself."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.up_proj = torch.nn.Linear(WIDTH, 3 * WIDTH, dtype=dtype)
        self.down_proj = torch.nn.Linear(3 * WIDTH, WIDTH, dtype=dtype)
        self.device = torch.device("cpu")

    def forward(self, given: torch.Tensor) -> Any:
        return self.down_proj(self.up_proj(given).relu())


def layers(dtype: torch.dtype) -> Layers:
    torch.manual_seed(0)
    return Layers(dtype)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from peft import LoraConfig, get_peft_model

    made = [tmp_path_factory.mktemp("adapter") for _ in SETTINGS]
    for folder, settings in zip(made, SETTINGS, strict=True):
        model = get_peft_model(layers(torch.float32), LoraConfig(init_lora_weights=False, **settings))
        model.save_pretrained(folder)
    return made


def plainly(folder: Path | None, given: torch.Tensor) -> Any:
    """What PEFT makes of tokens with an adapter."""
    from peft import PeftModel

    model = layers(given.dtype)
    with torch.inference_mode():
        return (PeftModel.from_pretrained(model, str(folder)).eval() if folder else model)(given)


def together(
    model: Layers, adapters: Adapters, spans: Sequence[tuple[Adapter | None, int]], given: torch.Tensor
) -> list[torch.Tensor]:
    """What a pass makes of them, by spans in the order of their adapters."""
    with torch.inference_mode(), adapters.speaking([Span(adapter=one, tokens=count) for one, count in spans], ()):
        return list(model(given[None])[0].split([count for _, count in spans]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("counts", [[2] * 6, [1, 3, 1, 2, 5, 1], [20, 1, 0, 9, 1, 30]])
def test_adapters_of_all_kinds_give_together_what_each_gives_with_peft(
    folders: list[Path], counts: list[int], dtype: torch.dtype
) -> None:
    model = layers(dtype)
    adapters = Adapters(model)
    known = {adapters.load(folder): folder for folder in folders}
    order: list[Adapter | None] = [None, *sorted(known, key=lambda adapter: adapter.order)]
    given = torch.randn(sum(counts), WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = together(model, adapters, list(zip(order, counts, strict=True)), given)

    for adapter, own, after in zip(order, given.split(counts), found, strict=True):
        expected = plainly(known[adapter] if adapter else None, own)
        torch.testing.assert_close(after, expected)


def test_who_stays_says_the_same_whoever_comes_and_goes(folders: list[Path]) -> None:
    model = layers(torch.float32)
    adapters = Adapters(model)
    held: dict[Adapter, Path] = {}
    given = torch.randn(2, WIDTH)
    expected = {folder: plainly(folder, given) for folder in folders}
    for step, folder in zip(range(20), itertools.cycle(folders)):
        held[adapters.load(folder)] = folder
        if step % 3:
            held.pop(list(held)[step % len(held)])
        order = sorted(held, key=lambda adapter: adapter.order)
        found = together(model, adapters, [(adapter, 2) for adapter in order], given.repeat(len(order), 1))

        for adapter, after in zip(order, found, strict=True):
            torch.testing.assert_close(after, expected[held[adapter]])
