"""`/v1/files`."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, UploadFile
from fastapi.responses import FileResponse
from openai.types import FileDeleted

from services.api.deps import ProjectDep, ServicesDep
from services.api.files import pages, service
from services.api.files.schemas import (
    MAX_EXPIRY_S,
    MIN_EXPIRY_S,
    File,
    FileExpiry,
    FilePage,
    Purpose,
    file_deleted,
    file_object,
)
from services.api.idempotency import CreatingDep
from services.api.paging import ListOf, Order, list_of
from services.errors import BadRequest
from services.ids import CHUNK
from services.storage.files import list_files
from services.storage.paging import PageRequest

router = APIRouter(prefix="/v1/files", tags=["files"])
# What was not set is left out: OpenAI's optional fields are absent, not null.
get = partial(router.get, response_model_exclude_unset=True)
post = partial(router.post, response_model_exclude_unset=True)

MAX_OFFSET = 2**53 - 1
CHUNK_ID = rf"^{CHUNK}[0-9]{{1,18}}$"


async def expiry(
    anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]", ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S)] = None,
) -> FileExpiry | None:
    if anchor is None and seconds is None:
        return None
    if anchor is None or seconds is None:
        missing = "anchor" if anchor is None else "seconds"
        raise BadRequest(
            f"Missing required parameter: 'expires_after[{missing}]'.",
            param=f"expires_after[{missing}]",
            code="missing_required_parameter",
        )
    return FileExpiry(anchor=anchor, seconds=seconds)


@post("")
def create(
    services: ServicesDep,
    creating: CreatingDep,
    file: UploadFile,
    purpose: Annotated[Purpose, Form()],
    expires_after: Annotated[FileExpiry | None, Depends(expiry)],
) -> File:
    return service.create_file(
        creating,
        services.blobs,
        file.file,
        filename=file.filename or "",
        purpose=purpose,
        expiry=expires_after,
        max_bytes=services.settings.max_file_bytes,
    )


@get("")
def list_(
    services: ServicesDep,
    project_id: ProjectDep,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
    after: str | None = None,
) -> ListOf[File]:
    request = PageRequest(limit=limit, descending=order == "desc", after=after or None)
    with services.database.read() as session:
        page = list_files(session, project_id, request, purpose=purpose)
    return list_of([file_object(row) for row in page.rows], has_more=page.has_more)


@get("/{file_id}")
def retrieve(services: ServicesDep, project_id: ProjectDep, file_id: str) -> File:
    with services.database.read() as session:
        return file_object(service.require_file(session, project_id, file_id))


@router.get("/{file_id}/content", response_class=FileResponse)
def content(services: ServicesDep, project_id: ProjectDep, file_id: str) -> FileResponse:
    filename, path = service.content_path(services.database, services.blobs, project_id, file_id)
    # As bytes to save and nothing else: a browser must not take an uploaded page for one of this server's.
    headers = {"x-content-type-options": "nosniff"}
    return FileResponse(path, media_type="application/octet-stream", filename=filename, headers=headers)


@router.get("/{file_id}/pages/{page}")
def page(
    services: ServicesDep,
    project_id: ProjectDep,
    file_id: str,
    page: Annotated[int, Path(ge=1, le=MAX_OFFSET)],
    start: Annotated[int | None, Query(ge=0, le=MAX_OFFSET)] = None,
    end: Annotated[int | None, Query(ge=0, le=MAX_OFFSET)] = None,
    chunk_id: Annotated[str | None, Query(pattern=CHUNK_ID)] = None,
    vector_store_id: str | None = None,
) -> FilePage:
    """Give a page's text as citations refer to it, with the span of one: `source_start` and `source_end`, or a chunk.

    A file whose format has no pages has page 1.
    """
    with services.database.read() as session:
        return pages.read_page(
            session, project_id, file_id, page, store_id=vector_store_id, chunk=chunk_id, span=(start, end)
        )


@router.delete("/{file_id}")
def delete(services: ServicesDep, project_id: ProjectDep, file_id: str) -> FileDeleted:
    service.remove_file(services.database, services.blobs, project_id, file_id)
    return file_deleted(file_id)
