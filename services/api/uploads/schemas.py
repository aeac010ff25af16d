"""The wire of uploads."""

from typing import Annotated

from openai.types import Upload as OpenAIUpload
from openai.types.uploads import UploadPart
from pydantic import Field

from services.api.files.schemas import File, FileExpiry, Purpose, file_object
from services.api.wire import Text, WireRequest
from services.storage.tables import FileRow, UploadPartRow, UploadRow
from services.storage.uploads import status_of


class CreateUpload(WireRequest):
    filename: Text
    purpose: Purpose
    bytes: Annotated[int, Field(ge=1)]
    mime_type: Annotated[Text, Field(max_length=255)]
    expires_after: FileExpiry | None = None


class CompleteUpload(WireRequest):
    """The parts in their order; `md5`, if given, is of the whole."""

    part_ids: Annotated[list[Text], Field(min_length=1, max_length=10_000)]
    md5: Text | None = None


class Upload(OpenAIUpload):
    file: File | None = None


def upload_object(row: UploadRow, file: FileRow | None = None) -> Upload:
    upload = Upload(
        id=row.id,
        object="upload",
        bytes=row.size_bytes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        filename=row.filename,
        purpose=row.purpose,
        status=status_of(row).value,
    )
    if file is not None:
        upload.file = file_object(file)
    return upload


def part_object(row: UploadPartRow) -> UploadPart:
    return UploadPart(id=row.id, object="upload.part", created_at=row.created_at, upload_id=row.upload_id)
