"""How near an exported model is to the one that it was made from, over what the trainer recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.parity.trace import Trace

if TYPE_CHECKING:
    import torch

MOST_TOKENS = 512
"""Each place takes as many numbers as the vocabulary has tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Over `tokens` places: the mean divergence KL(tuned || exported) of what comes next, in nats, its largest, and
    the share of places where both hold the same token for the likeliest."""

    tokens: int
    kl_per_token: float
    largest_kl: float
    greedy_agreement: float


def predictions(model: Any, traces: Sequence[Trace]) -> "torch.Tensor":
    """Give the logprobs of what comes at learned places, float32 [places, vocabulary] on the CPU."""
    import torch

    device = model.get_input_embeddings().weight.device
    rows = []
    left = MOST_TOKENS
    with torch.inference_mode():
        for trace in traces:
            places = torch.tensor(trace.learned[:left], device=device) - 1
            if not len(places):
                break
            ids = torch.tensor([list(trace.token_ids)], device=device)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=places).logits[0]
            rows.append(logits.float().log_softmax(-1).cpu())
            left -= len(places)
    return torch.cat(rows)


def compare_predictions(tuned: "torch.Tensor", exported: "torch.Tensor") -> Fidelity:
    """Both as `predictions` gives them, for the same traces."""
    divergence = (tuned.exp() * (tuned - exported)).sum(-1)
    agreed = tuned.argmax(-1) == exported.argmax(-1)
    return Fidelity(
        tokens=len(tuned),
        kl_per_token=float(divergence.mean()),
        largest_kl=float(divergence.max()),
        greedy_agreement=float(agreed.float().mean()),
    )
