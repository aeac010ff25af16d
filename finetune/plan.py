"""A plan: how a tuning runs on its device, and the memory that it takes there."""

from collections.abc import Mapping
from dataclasses import dataclass

WEIGHTS, ADAPTER, GRADIENTS, OPTIMIZER, ACTIVATIONS = "weights", "adapter", "gradients", "optimizer", "activations"
"""What the memory of a step is made of. Activations are all that is in none of the others."""

MARGIN = 0.05
"""What is left free above the simulated peak: for the workspace of kernels and the holes in an allocator's memory."""

RESERVED_BYTES = 1 << 30
"""What a trainer takes beside its tensors: the interpreter and libraries, on a GPU CUDA's context and kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The most memory held at once, in bytes: in the worst training step, in evaluation, and while saving."""

    step: int
    evaluation: int
    saving: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step of `batch_size` examples is `accumulation` passes of `micro_batch`, on each of `processes` devices.

    `sharded` says whether each holds only its part of the weights (FSDP), not all of them (DDP). Memory is that of
    one device. `parts` says what the peak of a step is made of, in bytes. `optimizer` and `attention` are
    transformers' names. `steps` is the number of optimizer steps, `longest` the tokens of the longest sequence that
    is trained on. `needed_bytes` is the highest peak with what is left free above it, `reasons` are sentences for
    people.
    """

    device: str
    device_bytes: int
    micro_batch: int
    accumulation: int
    longest: int
    gradient_checkpointing: bool
    activation_offloading: bool
    optimizer: str
    attention: str
    steps: int
    peaks: Peaks
    parts: Mapping[str, int]
    processes: int = 1
    sharded: bool = False
    needed_bytes: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.device_bytes


def needed(peaks: Peaks) -> int:
    """Give the memory that must be free for a training with these peaks."""
    return int(max(peaks.step, peaks.evaluation, peaks.saving) * (1 + MARGIN)) + RESERVED_BYTES
