"""The local engine: completions written in this process by a model of one's own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from services.engines.engine import ChatRequest, TextRequest
from services.engines.local.choice import Event
from services.engines.local.errand import Errand
from services.engines.local.failures import failure_of
from services.engines.local.models import LocalModels
from services.engines.local.request import SUPPORTS, read_request
from services.engines.local.text_request import SUPPORTS_TEXT, read_text
from services.engines.local.text_wire import TextCompletion
from services.engines.local.wanted import Asked, WantedModel
from services.engines.local.weights import find_weights
from services.engines.local.wire import Completion


class Local:
    """Answers requests over one base together; closing a stream, or leaving, frees the place within a pass."""

    name = "local"
    supports = SUPPORTS
    supports_text = SUPPORTS_TEXT

    def __init__(self, wanted: WantedModel, models: LocalModels) -> None:
        self._wanted = wanted
        self._models = models

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        asked = read_request(request)
        completion = Completion(asked)
        async with aclosing(self._events(asked)) as events:
            async for event in events:
                completion.add(event)
        return completion.whole()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        asked = read_request(request, stream=True)
        completion = Completion(asked)
        async with aclosing(self._events(asked)) as events:
            async for event in events:
                completion.add(event)
                for chunk in completion.chunks(event):
                    yield chunk
        if asked.include_usage:
            yield completion.usage_chunk()

    async def complete(self, request: TextRequest) -> dict[str, Any]:
        text = read_text(request)
        completion = TextCompletion(text)
        async with aclosing(self._events(text.asked)) as events:
            async for event in events:
                completion.add(event)
        return completion.whole()

    async def stream_text(self, request: TextRequest) -> AsyncGenerator[dict[str, Any]]:
        text = read_text(request)
        completion = TextCompletion(text)
        async with aclosing(self._events(text.asked)) as events:
            async for event in events:
                completion.add(event)
                for chunk in completion.chunks(event):
                    yield chunk
        if text.asked.include_usage:
            yield completion.usage_chunk()

    async def _events(self, asked: Asked) -> AsyncGenerator[Event]:
        """Give what the model does, from its lane's thread."""
        try:
            loop = asyncio.get_running_loop()
            weights = await loop.run_in_executor(self._models.finders, find_weights, self._wanted)
            guided = replace(asked, guide=await self._models.guides.guide(self._wanted, weights, asked))
            errand: Errand[Event] = Errand(lambda loaded, errand: loaded.join(errand, self._wanted, guided))
            self._models.lane(self._wanted, weights).submit(errand)
            async with aclosing(errand.events()) as events:
                async for event in events:
                    yield event
        except Exception as exc:
            failure = failure_of(exc, self._wanted.id)
            if failure is exc:
                raise
            raise failure from exc
