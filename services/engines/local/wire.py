"""What a generation looks like in OpenAI's chat completions, with vLLM's additions."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from services.engines.local.choice import Begun, Event, Written
from services.engines.local.logprobs import Place
from services.engines.local.text import Token, bytes_of
from services.engines.local.wanted import Asked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = -9999.0
"""OpenAI's logprob of what is all but impossible: JSON has no minus infinity."""


class Completion:
    """One answer put together from its events: the same ones make the whole and its chunks."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._created = int(time.time())
        self._begun: Begun | None = None
        self._written: list[Written] = []

    def add(self, event: Event) -> None:
        if isinstance(event, Begun):
            self._begun = event
        else:
            self._written.append(event)

    def whole(self) -> dict[str, Any]:
        """Give the `chat.completion`, once all events have come."""
        completion = {
            "object": "chat.completion",
            "created": self._created,
            "choices": [self._choice(index) for index in range(self._asked.n)],
            "usage": self._usage(),
            **self._of_prompt(),
        }
        if self._begun is not None and self._begun.places is not None:
            completion["prompt_logprobs"] = self._prompt_logprobs(self._begun.places)
        return completion

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        """Give the `chat.completion.chunk`s of an event that was added."""
        if isinstance(event, Begun):
            for index in range(self._asked.n):
                opening = {"role": "assistant", "content": "", "refusal": None}
                yield self._chunk(index, opening) | (self._of_prompt() if index == 0 else {})
            return
        piece = event.piece
        if piece.text or piece.tokens:
            yield self._chunk(event.choice, {"content": piece.text}, tokens=piece.tokens)
        if event.finish_reason:
            yield self._chunk(event.choice, {}, unseen=piece.unseen, finish_reason=event.finish_reason)

    def usage_chunk(self) -> dict[str, Any]:
        """Give the chunk that ends a stream whose usage was asked for."""
        return {**self._head(), "choices": [], "usage": self._usage()}

    def _choice(self, index: int) -> dict[str, Any]:
        mine = [written for written in self._written if written.choice == index]
        tokens = [token for written in mine for token in written.piece.tokens]
        choice = {
            "index": index,
            "message": {
                "role": "assistant",
                "content": "".join(written.piece.text for written in mine),
                "refusal": None,
            },
            "logprobs": self._logprobs(tokens),
            "finish_reason": mine[-1].finish_reason,
        }
        if self._asked.return_token_ids:
            unseen = [token for written in mine for token in written.piece.unseen]
            choice["token_ids"] = [token.id for token in (*tokens, *unseen)]
        return choice

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        tokens: Sequence[Token] = (),
        unseen: Sequence[Token] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        if self._asked.return_token_ids:
            choice["token_ids"] = [token.id for token in (*tokens, *unseen)]
        return {**self._head(), "choices": [choice]}

    def _head(self) -> dict[str, Any]:
        head: dict[str, Any] = {"object": "chat.completion.chunk", "created": self._created}
        return head | {"usage": None} if self._asked.include_usage else head

    def _usage(self) -> dict[str, Any]:
        prompt, cached = (len(self._begun.prompt), self._begun.cached) if self._begun else (0, 0)
        completion = sum(written.tokens for written in self._written)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _of_prompt(self) -> dict[str, Any]:
        wanted = self._begun is not None and self._asked.return_token_ids
        return {"prompt_token_ids": list(self._begun.prompt)} if wanted and self._begun else {}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self._asked.top_logprobs is None:
            return None
        return {"content": [self._logprob(token) for token in tokens], "refusal": None}

    def _logprob(self, token: Token) -> dict[str, Any]:
        top = [self._named(token_id, logprob) for token_id, logprob in token.top]
        return {**self._named(token.id, token.logprob), "top_logprobs": top}

    def _named(self, token_id: int, logprob: float | None) -> dict[str, Any]:
        known = list(bytes_of(self._tokenizer, token_id))
        return {"token": self._tokenizer.decode([token_id]), "logprob": _finite(logprob), "bytes": known}

    def _prompt_logprobs(self, places: Sequence[Place]) -> list[dict[str, Any] | None]:
        """Of each place what vLLM gives: its own token and the likeliest by id, the first place having none."""
        return [None, *map(self._place, places)]

    def _place(self, place: Place) -> dict[str, Any]:
        ranked = {token_id: (logprob, rank) for rank, (token_id, logprob) in enumerate(place.token.top, start=1)}
        ranked[place.token.id] = (_finite(place.token.logprob), place.rank)
        return {
            str(token_id): {
                "logprob": _finite(logprob),
                "rank": rank,
                "decoded_token": self._tokenizer.decode([token_id]),
            }
            for token_id, (logprob, rank) in ranked.items()
        }

    @property
    def _tokenizer(self) -> "PreTrainedTokenizerBase":
        assert self._begun is not None, "logprobs come after the beginning"
        return self._begun.tokenizer


def _finite(logprob: float | None) -> float:
    return LEAST if logprob is None else max(LEAST, logprob)
