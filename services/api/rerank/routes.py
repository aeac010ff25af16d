"""`POST /v1/rerank`, in the shape that Cohere and Jina gave it; Cohere's SDK asks for `/v2/rerank`."""

from fastapi import APIRouter

from services.api.deps import ProjectDep, ServicesDep
from services.api.rerank import service
from services.api.rerank.schemas import Reranked, RerankRequest

router = APIRouter(tags=["rerank"])


@router.post("/v1/rerank", response_model_exclude_none=True)
def rerank(asked: RerankRequest, services: ServicesDep, project: ProjectDep) -> Reranked:
    """Order documents by how they answer a query, by the reranker or by an embedder's cosine."""
    return service.rerank(services, project, asked)
