"""What a generation looks like in OpenAI's text completions."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from services.engines.local.choice import Begun, Event, Written
from services.engines.local.text import Token
from services.engines.local.text_request import TextAsked
from services.engines.local.tokens_wire import legacy_logprobs, usage


class TextCompletion:
    """Texts put together from their events: the same ones make the whole and its chunks."""

    def __init__(self, text: TextAsked) -> None:
        self._text = text
        self._created = int(time.time())
        self._begun: dict[int, Begun] = {}
        self._written: list[Written] = []
        self._ends: dict[int, int] = {}

    def add(self, event: Event) -> None:
        if isinstance(event, Begun):
            self._begun[event.number] = event
        else:
            self._written.append(event)

    def whole(self) -> dict[str, Any]:
        """Give the `text_completion`, once all events have come."""
        chosen = [index for number in range(len(self._text.prompts)) for index in self._best(number)]
        choices = [self._choice(index, place) for place, index in enumerate(chosen)]
        return {**self._head(), "choices": choices, "usage": self._usage()}

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        """Give the chunks of the event that was added last."""
        if isinstance(event, Begun):
            for index in self._indexes(event.number) if self._text.echo else ():
                yield self._chunk(index, self._echo(index), self._prompt_logprobs(index))
            return
        piece = event.piece
        if piece.text and not self._text.silent:
            start = self._ends.get(event.choice, len(self._echo(event.choice)))
            told = self._logprobs(event.choice, piece.tokens, start)
            if told and told["tokens"]:
                self._ends[event.choice] = told["text_offset"][-1] + len(told["tokens"][-1])
            yield self._chunk(event.choice, piece.text, told, piece.tokens)
        if event.finish_reason:
            yield self._chunk(event.choice, "", None, piece.unseen, event.finish_reason)

    def usage_chunk(self) -> dict[str, Any]:
        """Give the chunk that ends a stream whose usage was asked for."""
        return {**self._head(), "choices": [], "usage": self._usage()}

    def _indexes(self, number: int) -> range:
        return range(number * self._text.asked.n, (number + 1) * self._text.asked.n)

    def _best(self, number: int) -> Sequence[int]:
        """Give the choices of a prompt that are told, those first whose tokens are likeliest on average."""
        if self._text.asked.n == self._text.n:
            return self._indexes(number)
        return sorted(self._indexes(number), key=self._likelihood, reverse=True)[: self._text.n]

    def _likelihood(self, index: int) -> float:
        tokens = [token for written in self._of(index) for token in (*written.piece.tokens, *written.piece.unseen)]
        return sum(token.logprob or 0.0 for token in tokens) / max(1, len(tokens))

    def _choice(self, index: int, place: int) -> dict[str, Any]:
        mine = self._of(index)
        tokens = [token for written in mine for token in written.piece.tokens]
        echo, silent = self._echo(index), self._text.silent
        told = self._logprobs(index, () if silent else tokens, len(echo))
        choice = {
            "index": place,
            "text": echo + ("" if silent else "".join(written.piece.text for written in mine)),
            "logprobs": _joined(self._prompt_logprobs(index), told),
            "finish_reason": mine[-1].finish_reason,
        }
        if self._text.asked.return_token_ids:
            unseen = [token for written in mine for token in written.piece.unseen]
            choice["prompt_token_ids"] = list(self._prompt(index).prompt)
            choice["token_ids"] = [] if silent else [token.id for token in (*tokens, *unseen)]
        return choice

    def _chunk(
        self,
        index: int,
        text: str,
        logprobs: dict[str, Any] | None,
        tokens: Sequence[Token] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        if self._text.asked.return_token_ids:
            choice["token_ids"] = [] if self._text.silent else [token.id for token in tokens]
        head = self._head() | ({"usage": None} if self._text.asked.include_usage else {})
        return {**head, "choices": [choice]}

    def _head(self) -> dict[str, Any]:
        return {"object": "text_completion", "created": self._created}

    def _usage(self) -> dict[str, Any]:
        return usage(self._begun.values(), () if self._text.silent else self._written)

    def _of(self, index: int) -> list[Written]:
        return [written for written in self._written if written.choice == index]

    def _prompt(self, index: int) -> Begun:
        return self._begun[index // self._text.asked.n]

    def _echo(self, index: int) -> str:
        """Give the prompt as a text begins with it, if it does."""
        begun = self._prompt(index)
        prompt = self._text.prompts[begun.number]
        if not self._text.echo:
            return ""
        return prompt if isinstance(prompt, str) else str(begun.tokenizer.decode(begun.prompt))

    def _logprobs(self, index: int, tokens: Sequence[Token], start: int) -> dict[str, Any] | None:
        if self._text.logprobs is None:
            return None
        return legacy_logprobs(self._prompt(index).tokenizer, tokens, self._text.logprobs, start=start)

    def _prompt_logprobs(self, index: int) -> dict[str, Any] | None:
        begun = self._prompt(index)
        if self._text.logprobs is None or begun.places is None:
            return None
        tokens = [Token(id=begun.prompt[0]), *(place.token for place in begun.places)]
        return legacy_logprobs(begun.tokenizer, tokens, self._text.logprobs)


def _joined(first: dict[str, Any] | None, then: dict[str, Any] | None) -> dict[str, Any] | None:
    return {name: first[name] + then[name] for name in then} if first and then else then
