"""Tokens on the wire: counted, and with their logprobs as OpenAI and vLLM have them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from services.engines.local.choice import Begun, Written
from services.engines.local.logprobs import Place
from services.engines.local.text import Token, bytes_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = -9999.0
"""OpenAI's logprob of what is all but impossible: JSON has no minus infinity."""


def usage(begun: Iterable[Begun], written: Iterable[Written]) -> dict[str, Any]:
    """Count what was read and what was written."""
    read = list(begun)
    prompt, completion = sum(len(one.prompt) for one in read), sum(one.tokens for one in written)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(one.cached for one in read)},
    }


def chat_logprob(tokenizer: "PreTrainedTokenizerBase", token: Token) -> dict[str, Any]:
    """Give an entry of `logprobs.content`."""
    top = [_named(tokenizer, token_id, logprob) for token_id, logprob in token.top]
    return {**_named(tokenizer, token.id, token.logprob), "top_logprobs": top}


def prompt_logprobs(tokenizer: "PreTrainedTokenizerBase", places: Sequence[Place]) -> list[dict[str, Any] | None]:
    """Of each place what vLLM gives: its own token and the likeliest by id, the first place having none."""
    return [None, *(_place(tokenizer, place) for place in places)]


def finite(logprob: float | None) -> float:
    return LEAST if logprob is None else max(LEAST, logprob)


def _named(tokenizer: "PreTrainedTokenizerBase", token_id: int, logprob: float | None) -> dict[str, Any]:
    known = list(bytes_of(tokenizer, token_id))
    return {"token": tokenizer.decode([token_id]), "logprob": finite(logprob), "bytes": known}


def _place(tokenizer: "PreTrainedTokenizerBase", place: Place) -> dict[str, Any]:
    ranked = {token_id: (logprob, rank) for rank, (token_id, logprob) in enumerate(place.token.top, start=1)}
    ranked[place.token.id] = (finite(place.token.logprob), place.rank)
    return {
        str(token_id): {"logprob": finite(logprob), "rank": rank, "decoded_token": tokenizer.decode([token_id])}
        for token_id, (logprob, rank) in ranked.items()
    }


def legacy_logprobs(
    tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[Token], top: int, *, start: int = 0
) -> dict[str, Any]:
    """Give the `logprobs` of a text completion, the first token standing at `start`; one without a logprob has null."""
    texts = [str(tokenizer.decode([token.id])) for token in tokens]
    ends = list(accumulate(map(len, texts), initial=start))
    return {
        "tokens": texts,
        "token_logprobs": [None if token.logprob is None else finite(token.logprob) for token in tokens],
        "top_logprobs": [_likeliest(tokenizer, token, top) for token in tokens],
        "text_offset": ends[:-1],
    }


def _likeliest(tokenizer: "PreTrainedTokenizerBase", token: Token, top: int) -> dict[str, float] | None:
    """Give the likeliest by their texts, the best where several have one, and the one that was chosen."""
    if token.logprob is None:
        return None
    named: dict[str, float] = {}
    for token_id, logprob in (*token.top[:top], (token.id, token.logprob)):
        named.setdefault(str(tokenizer.decode([token_id])), finite(logprob))
    return named
