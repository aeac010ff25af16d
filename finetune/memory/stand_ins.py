"""What only runs on a GPU, stood in for where a step runs on fake tensors: each takes the memory of the real one.

TRL's kernels, activation offloading, and bitsandbytes' paged optimizer.
"""

from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

OFFLOADED_BYTES = 1024
STASHED = 5
"""TRL's OffloadActivations leaves smaller tensors, and keeps so many until they are copied."""

EIGHT_BIT_ELEMENTS = 4096
PAGED_ELEMENTS = 100_000
BLOCK_ELEMENTS = 256
"""From what size on bitsandbytes keeps a weight's moments in 8 bits, and out of the GPU; and what shares a scale."""


class _InPlace:
    """A kernel that is launched as `kernel[grid](…)` and takes no memory."""

    def __getitem__(self, grid: object) -> Any:
        return lambda *args, **kwargs: None


CHOICE = {"_use_triton": lambda device: True}
KERNELS = CHOICE | {
    "_forward_kernel": _InPlace(),
    "_backward_kernel": _InPlace(),
    "_addmm_fp32": lambda total, left, right: None,
    "triton": SimpleNamespace(cdiv=lambda count, size: -(-count // size)),
}
"""Of `trl.kernels.chunked_logprob`: on a GPU a tile of logits is folded where it lies, and only learned tokens are."""


class Offloading(saved_tensors_hooks):  # type: ignore[misc]  # torch is not typed here
    """Keeps what the backward pass needs off the device until then; `stays` says what is left where it is."""

    def __init__(self, stays: Callable[[Any], bool]) -> None:
        stash: deque[Any] = deque(maxlen=STASHED)

        def pack(tensor: Any) -> Any:
            if tensor.numel() * tensor.element_size() < OFFLOADED_BYTES or stays(tensor):
                return tensor
            stash.append(tensor)
            return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device

        def unpack(packed: Any) -> Any:
            stash.clear()
            if not isinstance(packed, tuple):
                return packed
            shape, stride, dtype, device = packed
            return torch.empty_strided(shape, stride, dtype=dtype, device=device)

        super().__init__(pack, unpack)


def paged_moments(weights: Iterable[Any]) -> list[Any]:
    """Give what bitsandbytes' paged 8-bit AdamW keeps on the device for these weights."""
    kept = []
    for weight in weights:
        size, device = weight.numel(), weight.device
        if size < EIGHT_BIT_ELEMENTS:
            kept += [torch.zeros(size, dtype=torch.float32, device=device) for _ in range(2)]
            continue
        if size < PAGED_ELEMENTS:
            kept += [torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2)]
        kept += [torch.zeros(-(-size // BLOCK_ELEMENTS), dtype=torch.float32, device=device) for _ in range(2)]
    return kept
