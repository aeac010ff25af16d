"""`/v1/uploads`."""

from functools import partial

from fastapi import APIRouter, UploadFile
from openai.types.uploads import UploadPart

from services.api.deps import ProjectDep, ServicesDep
from services.api.idempotency import CreatingDep
from services.api.uploads import service
from services.api.uploads.schemas import CompleteUpload, CreateUpload, Upload

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
post = partial(router.post, response_model_exclude_unset=True)


@post("")
def create(services: ServicesDep, creating: CreatingDep, wanted: CreateUpload) -> Upload:
    return service.create_upload(creating, wanted, max_bytes=services.settings.max_file_bytes)


@post("/{upload_id}/parts")
def create_part(services: ServicesDep, creating: CreatingDep, upload_id: str, data: UploadFile) -> UploadPart:
    return service.create_part(creating, services.blobs, upload_id, data.file)


@post("/{upload_id}/complete")
def complete(services: ServicesDep, creating: CreatingDep, upload_id: str, wanted: CompleteUpload) -> Upload:
    return service.complete_upload(creating, services.blobs, upload_id, wanted)


@post("/{upload_id}/cancel")
def cancel(services: ServicesDep, project_id: ProjectDep, upload_id: str) -> Upload:
    return service.cancel_upload(services.database, services.blobs, project_id, upload_id)
