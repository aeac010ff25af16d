"""`POST /v1/moderations`."""

from fastapi import APIRouter, Request, Response

from services.api.deps import ProjectDep, ServicesDep
from services.api.moderations import service
from services.api.moderations.schemas import ModerationRequest, ModerationResponse
from services.api.streaming import WireJSON, while_connected

router = APIRouter(tags=["moderations"])


@router.post("/v1/moderations", response_model=ModerationResponse)
async def create_moderation(
    asked: ModerationRequest, request: Request, services: ServicesDep, project: ProjectDep
) -> Response:
    """Judge texts by a chat model, in OpenAI's categories."""
    return WireJSON(await while_connected(request, lambda: service.moderate(services, project, asked)))
