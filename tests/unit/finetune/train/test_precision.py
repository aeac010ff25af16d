from types import SimpleNamespace

import pytest
import torch

from finetune.train.precision import Precision, precision_of

SHORT, LONG = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("own", "lora", "expected"),
    [
        (torch.float32, True, Precision(weights=LONG, result=LONG, autocast=False)),
        (torch.bfloat16, True, Precision(weights=SHORT, result=SHORT, autocast=True)),
        (torch.float16, True, Precision(weights=SHORT, result=SHORT, autocast=True)),
        (torch.bfloat16, False, Precision(weights=LONG, result=SHORT, autocast=True)),
        (torch.float32, False, Precision(weights=LONG, result=LONG, autocast=False)),
        (None, True, Precision(weights=LONG, result=LONG, autocast=False)),
    ],
)
def test_a_base_keeps_its_dtype_under_an_adapter_and_is_float32_when_tuned_whole(
    own: torch.dtype | None, lora: bool, expected: Precision
) -> None:
    assert precision_of(config(own), lora=lora, device="cpu") == expected


def test_a_gpu_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    found = precision_of(config(torch.float16), lora=True, device="cuda:0")
    assert found == Precision(weights=LONG, result=LONG, autocast=False)


def config(dtype: torch.dtype | None) -> SimpleNamespace:
    text = SimpleNamespace(dtype=dtype)
    return SimpleNamespace(get_text_config=lambda: text)
