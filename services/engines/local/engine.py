"""The local engine: chat completions written in this process by a model of one's own."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from services.engines.engine import ChatRequest
from services.engines.local.failures import failure_of
from services.engines.local.generation import Event, generate
from services.engines.local.lane import Errand
from services.engines.local.models import LocalModels
from services.engines.local.request import SUPPORTS, read_request
from services.engines.local.wanted import Asked, WantedModel
from services.engines.local.weights import Weights, find_weights
from services.engines.local.wire import Completion


class Local:
    """Answers one request at a time for each base, in order; closing a stream, or leaving, frees the place."""

    name = "local"
    supports = SUPPORTS

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

    async def _events(self, asked: Asked) -> AsyncGenerator[Event]:
        """Give what the model does, from its lane's thread."""
        try:
            loop = asyncio.get_running_loop()
            weights = await loop.run_in_executor(self._models.finders, find_weights, self._wanted)
            errand = Errand(lambda errand: self._answer(asked, weights, errand))
            self._models.lane(self._wanted, weights).submit(errand)
            async with aclosing(errand.events()) as events:
                async for event in events:
                    yield event
        except Exception as exc:
            failure = failure_of(exc, self._wanted.id)
            if failure is exc:
                raise
            raise failure from exc

    def _answer(self, asked: Asked, weights: Weights, errand: Errand[Event]) -> Iterator[Event]:
        import torch

        with (
            self._models.speaking(self._wanted, weights, errand.is_unwanted) as speaker,
            torch.inference_mode(),
        ):
            yield from generate(speaker, asked, errand.is_unwanted)
