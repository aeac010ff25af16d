"""Tokens with their logprobs as OpenAI's chat completions and vLLM's prompt logprobs have them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.engines.local.logprobs import Place
from services.engines.local.text import Token, bytes_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = -9999.0
"""OpenAI's logprob of what is all but impossible: JSON has no minus infinity."""


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
