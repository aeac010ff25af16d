"""A chat completion: resolve, ground, generate, cite."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from services.answering import Turn, in_worker, prepare
from services.api.chat.cited import Sending
from services.api.chat.schemas import ChatCompletionRequest
from services.wiring import Services


async def complete(services: Services, project_id: str, asked: ChatCompletionRequest) -> dict[str, Any]:
    """Give a whole chat completion."""
    turn = await _prepared(services, project_id, asked)
    sending = Sending(turn)
    return sending.completion(await turn.route.engine.chat(turn.request))


async def stream(services: Services, project_id: str, asked: ChatCompletionRequest) -> AsyncGenerator[dict[str, Any]]:
    """Give a chat completion in chunks."""
    turn = await _prepared(services, project_id, asked)
    async with aclosing(Sending(turn).chunks(turn.route.engine.stream(turn.request))) as chunks:
        async for chunk in chunks:
            yield chunk


async def _prepared(services: Services, project_id: str, asked: ChatCompletionRequest) -> Turn:
    search = asked.file_search
    preparing = partial(
        prepare,
        services,
        project_id,
        model=asked.model,
        messages=asked.wire_messages(),
        params=asked.params(),
        file_search=search.to_search(services.settings.max_num_results, place="file_search") if search else None,
    )
    return await in_worker(preparing)
