"""The trainer's side of parity: before it exits it writes down what the model it has trained makes of some examples.

The sequences are the trainer's own: what its collator gives, never rendered anew. The model computes as it will be
served: in evaluation, without autocast, the adapter in fp32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.types import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Collate: TypeAlias = Callable[[list[Mapping[str, Any]]], Mapping[str, "torch.Tensor"]]

EXAMPLES = 8
CONTINUED_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A file as the trainer holds it: `rows[i]`, which its collator takes, was made of `examples[i]`.

    Rows that were packed are of no use here: give them as they were before.
    """

    examples: Sequence[Example]
    rows: Sequence[Mapping[str, Any]]


def record(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    collate: Collate,
    path: Path,
    *,
    training: Rows,
    validation: Rows | None = None,
    max_length: int | None = None,
    count: int = EXAMPLES,
) -> int:
    """Write the traces of up to `count` examples of each file to `path`, and give how many there are.

    `model` is the trained model, unwrapped, with its adapter; it is left in evaluation mode. `collate` gives for one
    row `input_ids` and `labels` or `completion_mask` (TRL's collators for SFT, DPO and KTO do), of a pair first the
    chosen sequence, then the rejected. `max_length` is the limit in tokens that sequences were cut to.
    """
    raise NotImplementedError
