"""`POST /v1/completions`, as JSON or as a stream."""

from typing import Any

from fastapi import APIRouter, Request, Response

from services.api.completions import service
from services.api.completions.schemas import Completion, CompletionRequest
from services.api.deps import ProjectDep, ServicesDep
from services.api.streaming import WireJSON, stream_chunks, while_connected

router = APIRouter(tags=["completions"])

# Documented, not validated, as in /v1/chat/completions.
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Completion, "content": {"text/event-stream": {"schema": Completion.model_json_schema()}}}
}


@router.post("/v1/completions", responses=_RESPONSES)
async def create_completion(
    asked: CompletionRequest, request: Request, services: ServicesDep, project: ProjectDep
) -> Response:
    """Go on from a raw prompt, which no chat template touches."""
    if asked.stream:
        return await stream_chunks(request, service.stream(services, project, asked))
    return WireJSON(await while_connected(request, lambda: service.complete(services, project, asked)))
