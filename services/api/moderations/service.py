"""A moderation: each text to the model that judges, its answers to categories and scores."""

import asyncio
import time
from functools import partial
from typing import Any

from services.answering import in_worker
from services.api.chat.cited import loam_info
from services.api.moderations.schemas import ModerationRequest
from services.engines.engine import ChatRequest
from services.engines.fallback import Answered, Candidate, Line, line_up
from services.engines.router import Route
from services.errors import BadRequest
from services.ids import MODERATION, new_id
from services.moderation import VIOLATES, Scores, params, question, scores_of
from services.settings import ModerationStyle
from services.wiring import Services

AT_ONCE = 8
OPENAI_NAMES = ("omni-moderation-", "text-moderation-")
"""Clients name OpenAI's own moderators, or none: both mean the one that is configured."""

Judged = Answered[ChatRequest, Scores]


async def moderate(services: Services, project_id: str, asked: ModerationRequest) -> dict[str, Any]:
    """Judge every text. Raises BadRequest where no model is named or configured that could."""
    begun = time.perf_counter()
    model = _judge(services, asked.model)
    style = services.settings.moderation_style
    places = asyncio.Semaphore(AT_ONCE)

    async def judge(text: str) -> Judged:
        async with places:
            line = await in_worker(partial(_lined_up, services, project_id, model, text))
            return await line.answer(lambda candidate: _scores(candidate, style))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(judge(text)) for text in asked.texts()]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    judged = [task.result() for task in tasks]
    route = judged[0].candidate.route
    timings = {"judge": (time.perf_counter() - begun) * 1000}
    return {
        "id": new_id(MODERATION),
        "model": route.model_id,
        "results": [_result(one.result) for one in judged],
        "loam": loam_info(route, judged[0].tried, timings, answered=None),
    }


def _judge(services: Services, named: str | None) -> str:
    if named is not None and not named.startswith(OPENAI_NAMES):
        return named
    configured = services.settings.moderation_model
    if configured is None:
        raise BadRequest(
            "No model judges here: set LOAM_MODERATION_MODEL, or moderation_model in loam.yaml, to one of "
            "GET /v1/models that chats, or name one as 'model'.",
            param="model",
            code="moderation_not_configured",
        )
    return configured


def _lined_up(services: Services, project_id: str, model: str, text: str) -> Line[ChatRequest]:
    style = services.settings.moderation_style
    message = question(text, style, services.templates)

    def request_for(route: Route) -> ChatRequest:
        if not route.generative:
            raise BadRequest(f"The model {route.model_id!r} quotes documents; it cannot judge.", param="model")
        return ChatRequest(messages=(message,), params=params(style, route.engine.supports))

    return line_up(services.router, project_id, model, request_for)


async def _scores(candidate: Candidate[ChatRequest], style: ModerationStyle) -> Scores:
    completion = await candidate.route.engine.chat(candidate.request)
    return scores_of(str(completion["choices"][0].get("message", {}).get("content") or ""), style)


def _result(scores: Scores) -> dict[str, Any]:
    flagged = {name: score >= VIOLATES for name, score in scores.items()}
    return {
        "flagged": any(flagged.values()),
        "categories": flagged,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in scores},
    }
