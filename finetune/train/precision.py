"""Which numbers a training computes in.

An adapter is trained in float32 over a base that keeps its own dtype; a full tuning keeps all its weights in float32,
since steps of a usual size are lost in the rounding of bfloat16. Where the base is of 16 bits, products are computed
in bfloat16 (autocast), which needs no loss scaling. Nothing is rounded before it is saved, but for the result of a
full tuning, which takes the base's 16 bits again.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """`weights` is what the base is loaded in, `result` what its weights are served in."""

    weights: "torch.dtype"
    result: "torch.dtype"
    autocast: bool


def precision_of(config: Any, *, lora: bool, device: str) -> Precision:
    """Decide for a model's configuration. Where a GPU has no bfloat16, float32 is computed in."""
    import torch

    own = config.get_text_config().dtype
    short = own in (torch.bfloat16, torch.float16) and _has_bfloat16(device)
    served = torch.bfloat16 if short else torch.float32
    return Precision(weights=served if lora else torch.float32, result=served, autocast=short)


def _has_bfloat16(device: str) -> bool:
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return True
