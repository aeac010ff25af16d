"""What a generation looks like in OpenAI's chat completions, with vLLM's additions."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from services.engines.local.answer import Answer, Delta
from services.engines.local.choice import Begun, Event, Written
from services.engines.local.text import Token
from services.engines.local.tokens_wire import chat_logprob, prompt_logprobs, usage
from services.engines.local.wanted import Asked


class Completion:
    """One answer put together from its events: the same ones make the whole and its chunks."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._created = int(time.time())
        self._begun: Begun | None = None
        self._written: list[Written] = []
        self._answers: list[Answer] = []
        self._deltas: Sequence[Delta] = ()

    def add(self, event: Event) -> None:
        if isinstance(event, Begun):
            self._begun = event
            self._answers = [Answer(event.guide) for _ in range(self._asked.n)]
        else:
            self._written.append(event)
            self._deltas = self._answers[event.choice].add(event)

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
            completion["prompt_logprobs"] = prompt_logprobs(self._begun.tokenizer, self._begun.places)
        return completion

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        """Give the `chat.completion.chunk`s of the event that was added last."""
        if isinstance(event, Begun):
            for index in range(self._asked.n):
                opening = {"role": "assistant", "content": "", "refusal": None}
                yield self._chunk(index, opening) | (self._of_prompt() if index == 0 else {})
            return
        piece = event.piece
        asked = self._asked
        # What frames a call is told of only to those who want to know of every token.
        telling = bool(piece.tokens) and (asked.top_logprobs is not None or asked.return_token_ids)
        for place, delta in enumerate(self._deltas or ([{"content": ""}] if telling else [])):
            yield self._chunk(event.choice, delta, tokens=piece.tokens if place == 0 else ())
        if event.finish_reason:
            reason = self._answers[event.choice].finish_reason
            yield self._chunk(event.choice, {}, unseen=piece.unseen, finish_reason=reason)

    def usage_chunk(self) -> dict[str, Any]:
        """Give the chunk that ends a stream whose usage was asked for."""
        return {**self._head(), "choices": [], "usage": self._usage()}

    def _choice(self, index: int) -> dict[str, Any]:
        mine = [written for written in self._written if written.choice == index]
        tokens = [token for written in mine for token in written.piece.tokens]
        choice = {
            "index": index,
            "message": self._answers[index].message(),
            "logprobs": self._logprobs(tokens),
            "finish_reason": self._answers[index].finish_reason,
        }
        if self._asked.return_token_ids:
            unseen = [token for written in mine for token in written.piece.unseen]
            choice["token_ids"] = [token.id for token in (*tokens, *unseen)]
        return choice

    def _chunk(
        self,
        index: int,
        delta: Delta,
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
        return usage([self._begun] if self._begun else [], self._written)

    def _of_prompt(self) -> dict[str, Any]:
        wanted = self._begun is not None and self._asked.return_token_ids
        return {"prompt_token_ids": list(self._begun.prompt)} if wanted and self._begun else {}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self._asked.top_logprobs is None or self._begun is None:
            return None
        return {"content": [chat_logprob(self._begun.tokenizer, token) for token in tokens], "refusal": None}
