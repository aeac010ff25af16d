"""`/v1/vector_stores`; its files and batches are in `file_routes`."""

from functools import partial

from fastapi import APIRouter
from openai.types import VectorStoreDeleted

from services.api.deps import ProjectDep, ServicesDep
from services.api.idempotency import CreatingDep
from services.api.paging import ListOf, PagingDep, list_of
from services.api.vector_stores import service
from services.api.vector_stores.file_routes import router as files
from services.api.vector_stores.schemas import (
    CreateVectorStore,
    UpdateVectorStore,
    VectorStore,
    store_deleted,
)
from services.api.vector_stores.search import SearchPage, SearchVectorStore, search_page
from services.rewriting import rewritten
from services.storage.vector_stores import list_stores

router = APIRouter()
stores = APIRouter(prefix="/v1/vector_stores", tags=["vector_stores"])
get = partial(stores.get, response_model_exclude_unset=True)
post = partial(stores.post, response_model_exclude_unset=True)


@post("")
def create(services: ServicesDep, creating: CreatingDep, wanted: CreateVectorStore) -> VectorStore:
    return service.create_vector_store(creating, services.ingestion, wanted, embedder=services.settings.embedder)


@get("")
def list_(services: ServicesDep, project_id: ProjectDep, request: PagingDep) -> ListOf[VectorStore]:
    with services.database.read() as session:
        page = list_stores(session, project_id, request)
        found = service.store_objects(session, page.rows)
    return list_of(found, has_more=page.has_more)


@get("/{vector_store_id}")
def retrieve(services: ServicesDep, project_id: ProjectDep, vector_store_id: str) -> VectorStore:
    with services.database.read() as session:
        return service.described(session, service.require_store(session, project_id, vector_store_id))


@post("/{vector_store_id}")
def update(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, changes: UpdateVectorStore
) -> VectorStore:
    return service.update_vector_store(services, project_id, vector_store_id, changes)


@post("/{vector_store_id}/index/rollback")
def roll_back(services: ServicesDep, project_id: ProjectDep, vector_store_id: str) -> VectorStore:
    return service.roll_back(services, project_id, vector_store_id)


@post("/{vector_store_id}/index/cancel")
def cancel(services: ServicesDep, project_id: ProjectDep, vector_store_id: str) -> VectorStore:
    return service.cancel_generation(services, project_id, vector_store_id)


@stores.delete("/{vector_store_id}")
def delete(services: ServicesDep, project_id: ProjectDep, vector_store_id: str) -> VectorStoreDeleted:
    service.delete_vector_store(services.database, project_id, vector_store_id)
    services.searching.forget(vector_store_id)
    return store_deleted(vector_store_id)


@post("/{vector_store_id}/search")
def search(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, wanted: SearchVectorStore
) -> SearchPage:
    queries = wanted.queries()
    if wanted.rewrite_query:
        queries = rewritten(services, project_id, queries)
    hits = services.searching.search(project_id, [vector_store_id], queries, wanted.options())
    return search_page(queries, hits)


router.include_router(stores)
router.include_router(files)
