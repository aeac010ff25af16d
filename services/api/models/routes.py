"""`GET /v1/models` and one of them. An id may hold slashes, which SDKs send as `%2F`."""

from fastapi import APIRouter

from services.api.deps import ProjectDep, ServicesDep
from services.api.models.schemas import Model, ModelList, wire_model

router = APIRouter(tags=["models"])


@router.get("/v1/models")
def list_models(services: ServicesDep, project: ProjectDep) -> ModelList:
    """List every model that can be named, with aliases and the embedder."""
    return ModelList(object="list", data=[wire_model(served) for served in services.router.models(project)])


@router.get("/v1/models/{model_id:path}")
def retrieve_model(model_id: str, services: ServicesDep, project: ProjectDep) -> Model:
    """Give one model."""
    return wire_model(services.router.model(project, model_id))
