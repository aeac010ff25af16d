"""A model's forward passes for one request: the prompt once, then a token at a time.

The plain path: one sequence, the model's own cache. Greedy it gives what transformers' `generate` gives.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from services.engines.local.text import Token
from services.errors import BadRequest

if TYPE_CHECKING:
    import torch

ROWS = 256
"""So many places of a prompt are normalized at a time: over all of a long one it would take gigabytes."""

Choose: TypeAlias = Callable[[Sequence[int], "torch.Tensor"], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place of the prompt: the token that stands there, and its rank among those that could."""

    token: Token
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled:
    """A prompt that the model has read: `logits` float32 [vocabulary] of what comes next, and its cache.

    `places` are the prompt's tokens but the first, if they were asked for.
    """

    prompt: Sequence[int]
    logits: "torch.Tensor"
    cache: Any
    places: Sequence[Place] | None


def prefill(model: Any, prompt: Sequence[int], *, top: int | None = None) -> Prefilled:
    """Read a prompt; `top` asks for the logprobs of its tokens, and of so many of the likeliest in each place."""
    import torch

    ids = torch.tensor([list(prompt)], device=model.device)
    # Where all logits are not wanted, only the last are computed: over a long prompt they take gigabytes.
    last = {"logits_to_keep": 1} if top is None else {}
    output = model(input_ids=ids, use_cache=True, **last)
    cache = output.get("past_key_values")
    if cache is None:
        raise BadRequest(
            f"The local engine cannot run a {model.config.model_type!r} model: it keeps its past in a way of its own.",
            param="model",
            code="unsupported_model",
        )
    places = None if top is None else list(_places(output.logits[0, :-1], prompt[1:], top))
    return Prefilled(prompt=prompt, logits=output.logits[0, -1].float(), cache=cache, places=places)


def tokens_after(
    model: Any, prefilled: Prefilled, choose: Choose, *, top: int | None, keep_cache: bool = False
) -> Iterator[Token]:
    """Generate without end; `top` asks for logprobs, and for so many of the likeliest.

    The cache is used up, unless it is to be kept for another choice from the same prompt.
    """
    import torch

    cache = copy.deepcopy(prefilled.cache) if keep_cache else prefilled.cache
    ids, logits = list(prefilled.prompt), prefilled.logits
    while True:
        token = choose(ids, logits)
        ids.append(token)
        yield Token(id=token) if top is None else _with_logprobs(logits, token, top)
        given = torch.tensor([[token]], device=model.device)
        logits = model(input_ids=given, past_key_values=cache, use_cache=True).logits[0, -1].float()


def _with_logprobs(logits: "torch.Tensor", token: int, top: int) -> Token:
    logprobs = logits.log_softmax(-1)
    likeliest = logprobs.topk(min(top, len(logprobs)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return Token(id=token, logprob=float(logprobs[token]), top=tuple(pairs))


def _places(logits: "torch.Tensor", tokens: Sequence[int], top: int) -> Iterator[Place]:
    """`logits` [n, vocabulary], row i for token i."""
    import torch

    for begin in range(0, len(tokens), ROWS):
        some = tokens[begin : begin + ROWS]
        logprobs = logits[begin : begin + ROWS].float().log_softmax(-1)
        actual = logprobs.gather(1, torch.tensor(some, device=logits.device)[:, None])
        ranks = ((logprobs > actual).sum(-1) + 1).tolist()
        likeliest = logprobs.topk(min(top, logprobs.shape[-1]))
        rows = zip(
            some, actual[:, 0].tolist(), ranks, likeliest.indices.tolist(), likeliest.values.tolist(), strict=True
        )
        for token, logprob, rank, indices, values in rows:
            pairs = tuple(zip(indices, values, strict=True))
            yield Place(token=Token(id=token, logprob=logprob, top=pairs), rank=rank)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the word of the model's generation config and of the tokenizer."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if isinstance(token, int))


def context_tokens(model: Any, longest_input: int | None) -> int | None:
    """The most tokens that prompt and answer may have together, None where neither model nor tokenizer says it."""
    known: Mapping[str, Any] = model.config.get_text_config().to_dict()
    said = known.get("max_position_embeddings")
    return said if isinstance(said, int) else longest_input
