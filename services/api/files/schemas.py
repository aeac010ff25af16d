"""The wire of files."""

from typing import Annotated, Literal, TypeAlias

from openai.types import FileDeleted, FileObject
from pydantic import BaseModel, Field

from services.api.wire import WireRequest
from services.storage.tables import FileRow

Purpose: TypeAlias = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]

MIN_EXPIRY_S = 3600
MAX_EXPIRY_S = 30 * 24 * 3600
ExpirySeconds: TypeAlias = Annotated[int, Field(ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S)]


class FileExpiry(WireRequest):
    """When a file goes by itself."""

    anchor: Literal["created_at"]
    seconds: ExpirySeconds


class File(FileObject):
    """OpenAI's file; its own type leaves out the purpose `evals`, which it takes."""

    purpose: str  # type: ignore[assignment]


class PageSpan(BaseModel):
    """A part of a page that is cited: `text` is the canonical text from `start` to before `end`."""

    start: int
    end: int
    text: str


class FilePage(BaseModel):
    """A page of a file's canonical text, `pages` in all; offsets are characters of that text, as in citations."""

    object: Literal["file.page"]
    file_id: str
    filename: str
    vector_store_id: str
    page: int
    pages: int
    start: int
    end: int
    text: str
    spans: list[PageSpan]


def file_object(row: FileRow) -> File:
    """Give the wire form of a file. `status` is deprecated there: a file is of use as soon as it is whole."""
    file = File(
        id=row.id,
        object="file",
        bytes=row.size_bytes,
        created_at=row.created_at,
        filename=row.filename,
        purpose=row.purpose,
        status="processed",
    )
    if row.expires_at is not None:
        file.expires_at = row.expires_at
    return file


def file_deleted(file_id: str) -> FileDeleted:
    return FileDeleted(id=file_id, object="file", deleted=True)
