"""A chat completion: resolve, ground, generate, cite."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from services.answering import Turn, in_worker, prepared
from services.api.chat.cited import Sending
from services.api.chat.schemas import ChatCompletionRequest
from services.wiring import Services


async def complete(services: Services, project_id: str, asked: ChatCompletionRequest) -> dict[str, Any]:
    """Give a whole chat completion."""
    turn, completion = await (await _prepared(services, project_id, asked)).answered()
    sending = Sending(turn)
    return await in_worker(partial(sending.completion, completion)) if turn.judges else sending.completion(completion)


async def stream(services: Services, project_id: str, asked: ChatCompletionRequest) -> AsyncGenerator[dict[str, Any]]:
    """Give a chat completion in chunks."""
    turn, written = await (await _prepared(services, project_id, asked)).streamed()
    async with aclosing(Sending(turn).chunks(written)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _prepared(services: Services, project_id: str, asked: ChatCompletionRequest) -> Turn:
    search = asked.file_search
    return await prepared(
        services,
        project_id,
        model=asked.model,
        messages=asked.wire_messages(),
        params=asked.params(),
        file_search=search.to_search(services.settings.max_num_results, place="file_search") if search else None,
    )
