"""An engine as `rag` asks it: text for messages, for steps that are synchronous and run beside the event loop."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.from_thread

from prompts import Message
from rag.errors import GeneratorFailed
from services.engines.engine import ChatRequest
from services.engines.router import Route
from services.errors import ServiceError


@dataclass(frozen=True, slots=True)
class EngineGenerator:
    """Asks a model through its gate (`rag.ports.Generator`).

    `run` has the event loop do it; by default that of the request in whose worker thread this is.
    """

    route: Route
    run: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any] = anyio.from_thread.run

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        wire = tuple({"role": message.role, "content": message.content} for message in messages)
        request = ChatRequest(messages=wire, params={"max_completion_tokens": max_tokens, "temperature": 0})
        engine = self.route.engine
        try:
            completion = self.run(lambda: self.route.gate.answer(lambda: engine.chat(request)))
        except ServiceError as exc:
            raise GeneratorFailed(f"The model {self.route.model_id!r} did not write what it was asked for.") from exc
        return str(completion["choices"][0].get("message", {}).get("content") or "")
