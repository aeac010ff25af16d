"""A text completion: resolve, forward, put loam's own names on what comes."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from services.answering import in_worker
from services.api.chat.cited import loam_info
from services.api.completions.schemas import CompletionRequest
from services.engines.engine import TextEngine, TextRequest
from services.engines.fallback import Answered, Line, line_up
from services.engines.parameters import effective_text
from services.engines.router import Route
from services.errors import BadRequest
from services.ids import TEXT_COMPLETION, new_id
from services.wiring import Services


async def complete(services: Services, project_id: str, asked: CompletionRequest) -> dict[str, Any]:
    """Give a whole text completion."""
    line = await _found(services, project_id, asked)
    begun = time.perf_counter()
    answered = await line.answer(lambda candidate: _engine(candidate.route).complete(candidate.request))
    return _stamped(answered.result, answered, new_id(TEXT_COMPLETION)) | _loam(answered, begun)


async def stream(services: Services, project_id: str, asked: CompletionRequest) -> AsyncGenerator[dict[str, Any]]:
    """Give a text completion as it grows."""
    line = await _found(services, project_id, asked)
    begun, completion_id = time.perf_counter(), new_id(TEXT_COMPLETION)
    answered = await line.stream(lambda candidate: _engine(candidate.route).stream_text(candidate.request))
    async with aclosing(answered.result) as chunks:
        async for chunk in chunks:
            ended = any(choice.get("finish_reason") for choice in chunk["choices"])
            yield _stamped(chunk, answered, completion_id) | (_loam(answered, begun) if ended else {})


async def _found(services: Services, project_id: str, asked: CompletionRequest) -> Line[TextRequest]:
    finding = partial(_lined_up, services, project_id, asked)
    return finding() if services.router.is_at_hand(asked.model) else await in_worker(finding)


def _lined_up(services: Services, project_id: str, asked: CompletionRequest) -> Line[TextRequest]:
    params = asked.params()

    def request_for(route: Route) -> TextRequest:
        return TextRequest(prompt=asked.prompt, params=effective_text(params, _engine(route)))

    line = line_up(services.router, project_id, asked.model, request_for)
    if (alias := line.first.route.alias) is not None and alias.vector_stores:
        raise BadRequest(
            f"The alias {asked.model!r} answers from documents, a raw prompt is not grounded in any: ask it in "
            "/v1/chat/completions, or name its model here.",
            param="model",
        )
    return line


def _engine(route: Route) -> TextEngine:
    """Give the route's engine as one for raw prompts. Raises BadRequest where it takes none."""
    engine = route.engine
    if isinstance(engine, TextEngine) and engine.supports_text:
        return engine
    raise BadRequest(
        f"The {engine.name} engine does not take raw prompts: ask {route.model_id!r} in /v1/chat/completions.",
        param="model",
        code="unsupported_endpoint",
    )


def _stamped(sent: dict[str, Any], answered: Answered[TextRequest, Any], completion_id: str) -> dict[str, Any]:
    return {**sent, "id": completion_id, "model": answered.candidate.route.model_id}


def _loam(answered: Answered[TextRequest, Any], begun: float) -> dict[str, Any]:
    timings = {"generate": (time.perf_counter() - begun) * 1000}
    return {"loam": loam_info(answered.candidate.route, answered.tried, timings, answered=None)}
