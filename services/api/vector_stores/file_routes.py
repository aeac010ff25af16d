"""`/v1/vector_stores/{id}/files` and `/file_batches`."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from openai.types.vector_stores import VectorStoreFile, VectorStoreFileBatch, VectorStoreFileDeleted
from sqlalchemy.orm import Session

from services.api.deps import ProjectDep, ServicesDep
from services.api.idempotency import CreatingDep
from services.api.paging import ListOf, PagingDep, list_of
from services.api.vector_stores import files
from services.api.vector_stores.file_schemas import (
    AddFile,
    CreateBatch,
    FileContent,
    UpdateFile,
    batch_object,
    store_file_deleted,
    store_file_object,
)
from services.api.vector_stores.service import require_store
from services.storage.attributes import read_attributes
from services.storage.generations import live_generation
from services.storage.paging import Page
from services.storage.store_files import count_batch, list_store_files
from services.storage.tables import DocumentRow, FileStatus, VectorStoreRow

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}", tags=["vector_stores"])
get = partial(router.get, response_model_exclude_unset=True)
post = partial(router.post, response_model_exclude_unset=True)

# The SDK's pollers wait as long as they are told here, a second otherwise.
POLL_AFTER: Final = ("openai-poll-after-ms", "200")
StatusFilter = Annotated[FileStatus | None, Query(alias="filter")]


@post("/files")
def add(services: ServicesDep, creating: CreatingDep, vector_store_id: str, wanted: AddFile) -> VectorStoreFile:
    return files.add_store_file(creating, services.ingestion, vector_store_id, wanted)


@get("/files")
def list_(
    services: ServicesDep,
    project_id: ProjectDep,
    vector_store_id: str,
    page: PagingDep,
    status: StatusFilter = None,
) -> ListOf[VectorStoreFile]:
    with services.database.read() as session:
        store = require_store(session, project_id, vector_store_id)
        return _listed(session, store, list_store_files(session, store, page, status=status))


@get("/files/{file_id}")
def retrieve(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, file_id: str, response: Response
) -> VectorStoreFile:
    response.headers.append(*POLL_AFTER)
    with services.database.read() as session:
        store = require_store(session, project_id, vector_store_id)
        return files.described(session, files.require_store_file(session, store, file_id))


@post("/files/{file_id}")
def update(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, file_id: str, changes: UpdateFile
) -> VectorStoreFile:
    return files.update_store_file(services.database, project_id, vector_store_id, file_id, changes)


@router.delete("/files/{file_id}")
def delete(services: ServicesDep, project_id: ProjectDep, vector_store_id: str, file_id: str) -> VectorStoreFileDeleted:
    files.remove_store_file(services.database, services.ingestion, project_id, vector_store_id, file_id)
    return store_file_deleted(file_id)


@get("/files/{file_id}/content")
def content(services: ServicesDep, project_id: ProjectDep, vector_store_id: str, file_id: str) -> FileContent:
    return files.read_content(services.database, project_id, vector_store_id, file_id)


@post("/file_batches")
def create_batch(
    services: ServicesDep, creating: CreatingDep, vector_store_id: str, wanted: CreateBatch
) -> VectorStoreFileBatch:
    return files.create_batch(creating, services.ingestion, vector_store_id, wanted)


@get("/file_batches/{batch_id}")
def retrieve_batch(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, batch_id: str, response: Response
) -> VectorStoreFileBatch:
    response.headers.append(*POLL_AFTER)
    with services.database.read() as session:
        batch = files.require_batch(session, require_store(session, project_id, vector_store_id), batch_id)
        return batch_object(batch, count_batch(session, batch))


@post("/file_batches/{batch_id}/cancel")
def cancel_batch(
    services: ServicesDep, project_id: ProjectDep, vector_store_id: str, batch_id: str
) -> VectorStoreFileBatch:
    return files.cancel_batch(services.database, services.ingestion, project_id, vector_store_id, batch_id)


@get("/file_batches/{batch_id}/files")
def list_batch(
    services: ServicesDep,
    project_id: ProjectDep,
    vector_store_id: str,
    batch_id: str,
    page: PagingDep,
    status: StatusFilter = None,
) -> ListOf[VectorStoreFile]:
    with services.database.read() as session:
        store = require_store(session, project_id, vector_store_id)
        batch = files.require_batch(session, store, batch_id)
        return _listed(session, store, list_store_files(session, store, page, status=status, batch=batch))


def _listed(session: Session, store: VectorStoreRow, page: Page[DocumentRow]) -> ListOf[VectorStoreFile]:
    attributes = read_attributes(session, [row.seq for row in page.rows])
    live = live_generation(session, store.id)
    items = [store_file_object(row, attributes.get(row.seq, {}), live) for row in page.rows]
    return list_of(items, has_more=page.has_more)
