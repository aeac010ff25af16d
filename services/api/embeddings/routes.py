"""`POST /v1/embeddings`."""

from fastapi import APIRouter, Response

from services.api.deps import ProjectDep, ServicesDep
from services.api.embeddings import service
from services.api.embeddings.schemas import EmbeddingRequest, EmbeddingResponse
from services.api.streaming import WireJSON

router = APIRouter(tags=["embeddings"])


@router.post("/v1/embeddings", response_model=EmbeddingResponse)
def create_embeddings(asked: EmbeddingRequest, services: ServicesDep, project: ProjectDep) -> Response:
    """Embed texts, or the tokens of texts."""
    return WireJSON(service.embed(services, project, asked))
