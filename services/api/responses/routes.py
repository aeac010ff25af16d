"""`/v1/responses`: made as JSON or as a stream of events, and kept until deleted."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Response as HttpResponse
from openai.types.responses import InputTokenCountResponse

from services.api.deps import ProjectDep, ServicesDep
from services.api.paging import PagingDep
from services.api.responses import service
from services.api.responses.schemas import Response, ResponseRequest, TokenCountRequest
from services.api.streaming import EventStream, Objects, WireJSON, opened, while_connected
from services.errors import BadRequest
from services.fast_json import to_json

router = APIRouter(tags=["responses"])

_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"model": Response, "content": {"text/event-stream": {}}}}


@router.post("/v1/responses", responses=_RESPONSES)
async def create_response(
    asked: ResponseRequest, request: Request, services: ServicesDep, project: ProjectDep
) -> HttpResponse:
    """Answer an input and what it follows, from documents where the tool `file_search` names some."""
    if asked.stream:
        return EventStream(_sse(await opened(request, service.stream(services, project, asked))))
    return WireJSON(await while_connected(request, lambda: service.create(services, project, asked)))


@router.post("/v1/responses/input_tokens")
def count_input_tokens(asked: TokenCountRequest, services: ServicesDep, project: ProjectDep) -> InputTokenCountResponse:
    """Count the tokens of an input, as the model's own tokenizer does."""
    return InputTokenCountResponse(**service.count_tokens(services, project, asked))


@router.get("/v1/responses/{response_id}", responses=_RESPONSES)
def retrieve_response(
    response_id: str, services: ServicesDep, project: ProjectDep, stream: Annotated[bool, Query()] = False
) -> HttpResponse:
    """Give a stored response."""
    if stream:
        raise BadRequest("A stored response cannot be streamed again: ask for it without 'stream'.", param="stream")
    return WireJSON(service.find(services, project, response_id).body)


@router.delete("/v1/responses/{response_id}")
def delete_response(response_id: str, services: ServicesDep, project: ProjectDep) -> dict[str, Any]:
    """Delete a stored response."""
    service.delete(services, project, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/v1/responses/{response_id}/cancel")
def cancel_response(response_id: str, services: ServicesDep, project: ProjectDep) -> None:
    """Refuse: only responses made in the background could be cancelled, and there are none."""
    service.find(services, project, response_id)
    raise BadRequest("Cannot cancel a synchronous response: close its connection instead.")


@router.get("/v1/responses/{response_id}/input_items")
def list_input_items(response_id: str, page: PagingDep, services: ServicesDep, project: ProjectDep) -> HttpResponse:
    """List the items that a response was given."""
    return WireJSON(service.page_of(service.find(services, project, response_id).input, page))


async def _sse(events: Objects) -> AsyncGenerator[bytes]:
    try:
        async for event in events:
            yield f"event: {event['type']}\ndata: ".encode() + to_json(event) + b"\n\n"
    finally:
        await events.aclose()
