"""`POST /v1/chat/completions`, as JSON or as a stream."""

from typing import Any

from fastapi import APIRouter, Request, Response

from services.api.chat import service
from services.api.chat.schemas import ChatCompletion, ChatCompletionChunk, ChatCompletionRequest
from services.api.deps import ProjectDep, ServicesDep
from services.api.streaming import WireJSON, stream_chunks, while_connected

router = APIRouter(tags=["chat"])

# Documented, not validated: what an upstream gives is passed on with fields that no type here knows.
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ChatCompletion,
        "content": {"text/event-stream": {"schema": ChatCompletionChunk.model_json_schema()}},
    }
}


@router.post("/v1/chat/completions", responses=_RESPONSES)
async def create_chat_completion(
    asked: ChatCompletionRequest, request: Request, services: ServicesDep, project: ProjectDep
) -> Response:
    """Answer a conversation, from documents where some are named."""
    if asked.stream:
        return await stream_chunks(request, service.stream(services, project, asked))
    return WireJSON(await while_connected(request, lambda: service.complete(services, project, asked)))
