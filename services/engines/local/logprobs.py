"""Logprobs of tokens that were chosen, and of those that stand in a prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.engines.local.text import Token

if TYPE_CHECKING:
    import torch

ROWS = 256
"""So many places of a prompt are normalized at a time: over all of a long one it would take gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place of the prompt: the token that stands there, and its rank among those that could."""

    token: Token
    rank: int


def told(logits: "Sequence[torch.Tensor]", tokens: Sequence[int], tops: Sequence[int | None]) -> list[Token]:
    """Give the tokens chosen by rows of logits [vocabulary], with as many of the likeliest as is wanted of each."""
    import torch

    wanted = [place for place, top in enumerate(tops) if top is not None]
    found = [Token(id=token) for token in tokens]
    if wanted:
        logprobs = torch.stack([logits[place] for place in wanted]).log_softmax(-1)
        likeliest = logprobs.topk(min(max(top or 0 for top in tops), logprobs.shape[-1]))
        actual = logprobs.gather(1, torch.tensor([[tokens[place]] for place in wanted], device=logprobs.device))[:, 0]
        rows = zip(wanted, actual.tolist(), likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        for place, logprob, indices, values in rows:
            pairs = tuple(zip(indices, values, strict=True))[: tops[place]]
            found[place] = Token(id=tokens[place], logprob=logprob, top=pairs)
    return found


def places(logits: "torch.Tensor", tokens: Sequence[int], top: int) -> Iterator[Place]:
    """Give a prompt's tokens by logits [tokens, vocabulary], row i for token i."""
    import torch

    for begin in range(0, len(tokens), ROWS):
        some = tokens[begin : begin + ROWS]
        logprobs = logits[begin : begin + ROWS].log_softmax(-1)
        actual = logprobs.gather(1, torch.tensor(some, device=logits.device)[:, None])
        ranks = ((logprobs > actual).sum(-1) + 1).tolist()
        likeliest = logprobs.topk(min(top, logprobs.shape[-1]))
        rows = zip(
            some, actual[:, 0].tolist(), ranks, likeliest.indices.tolist(), likeliest.values.tolist(), strict=True
        )
        for token, logprob, rank, indices, values in rows:
            pairs = tuple(zip(indices, values, strict=True))
            yield Place(token=Token(id=token, logprob=logprob, top=pairs), rank=rank)
