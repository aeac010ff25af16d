"""`/v1/models`: all of them, one, and the end of a tuned one. An id may hold slashes, which SDKs send as `%2F`."""

from fastapi import APIRouter
from openai.types import ModelDeleted

from services.api.deps import ProjectDep, ServicesDep
from services.api.models.schemas import ModelList, ModelWithManifest, wire_model
from services.removal import remove_tuned
from services.storage.tuned_models import find_tuned_model

router = APIRouter(tags=["models"])


@router.get("/v1/models")
def list_models(services: ServicesDep, project: ProjectDep) -> ModelList:
    """List every model that can be named, with tuned ones, aliases and the embedder."""
    return ModelList(object="list", data=[wire_model(served) for served in services.router.models(project)])


@router.get("/v1/models/{model_id:path}")
def retrieve_model(model_id: str, services: ServicesDep, project: ProjectDep) -> ModelWithManifest:
    """Give one model, a tuned one with its manifest."""
    model = wire_model(services.router.model(project, model_id))
    with services.database.read() as session:
        tuned = find_tuned_model(session, project, model_id)
    return ModelWithManifest(**model.model_dump(), manifest=tuned.manifest if tuned else None)


@router.delete("/v1/models/{model_id:path}")
def delete_model(model_id: str, services: ServicesDep, project: ProjectDep) -> ModelDeleted:
    """Delete a tuned model or a checkpoint, its files once nobody is being answered from them."""
    remove_tuned(services, project, model_id)
    return ModelDeleted(id=model_id, object="model", deleted=True)
