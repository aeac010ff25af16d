"""The local engine on a GPU, at the size of a small real model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.engines.local.models import LocalModels
from tests.fakes.local import Asking
from tests.fakes.plain import Plain
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

DEVICE = "cuda:0"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("gpu") / "base", layers=8, hidden=1024, dtype="bfloat16")


@pytest.fixture
def asking() -> Iterator[Asking]:
    models = LocalModels(most_bases=1, most_waiting=8)
    yield Asking(models)
    models.close()


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_base_and_adapter_say_what_transformers_says(asking: Asking, base: Path, quantization: Any) -> None:
    folder = base.parent / f"adapter-{quantization}"
    manifest = replace(tiny_adapter(folder, base), quantization=quantization, dtype="bfloat16")
    engines = {None: asking.base(base, quantization=quantization), folder: asking.tuned(folder, manifest)}

    for at in (None, folder, None):
        expected = Plain(base, at, quantization=quantization, device=DEVICE).generated(max_new_tokens=48)
        assert asking.ids(engines[at], max_tokens=48) == expected


def test_a_seed_repeats(asking: Asking, base: Path) -> None:
    sampled: dict[str, Any] = {"temperature": 1.2, "seed": 3, "max_tokens": 48}

    assert asking.ids(asking.base(base), **sampled) == asking.ids(asking.base(base), **sampled)


def test_a_base_that_makes_room_gives_its_memory_back(asking: Asking, base: Path) -> None:
    import torch

    asking.ids(asking.base(base))
    with_one = torch.cuda.memory_allocated()
    for dtype in ("float16", "bfloat16"):
        asking.ids(asking.base(base, dtype=dtype))

    assert torch.cuda.memory_allocated() <= 1.05 * with_one
