"""How a tuning will fit its device: decided, and told to the user, before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The most memory held at once, in bytes: in the worst training step, in evaluation, and while saving."""

    step: int
    evaluation: int
    saving: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step of `batch_size` examples is `accumulation` passes of `micro_batch`.

    `parts` says what the peak of a step is made of, in bytes: `weights`, `adapter`, `gradients`, `optimizer`,
    `activations`. `optimizer` and `attention` are transformers' names. `steps` is the number of optimizer steps,
    `longest` the tokens of the longest sequence that is trained on.
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
