from pathlib import Path

import pytest

from finetune.model import Base, load_model
from tests.fakes.tiny_model import tiny_model


def test_quantized_weights_stay_as_they_are_after_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit, modules

    # As on a CPU with AVX512-BF16, whose kernel no gradient flows through.
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    folder = tiny_model(tmp_path / "base")
    model = load_model(Base(source=str(folder)), quantization="nf4", device="cpu")
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    before = [layer.weight.data.clone() for layer in layers]
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    assert layers
    assert not any(getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in layers)
    assert all(torch.equal(layer.weight.data, old) for layer, old in zip(layers, before, strict=True))
