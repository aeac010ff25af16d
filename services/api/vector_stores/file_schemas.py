"""The wire of a store's files and of batches of them."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from openai.types import StaticFileChunkingStrategy, StaticFileChunkingStrategyObject
from openai.types.vector_stores import (
    FileContentResponse,
    VectorStoreFile,
    VectorStoreFileBatch,
    VectorStoreFileDeleted,
)
from openai.types.vector_stores.vector_store_file import LastError
from openai.types.vector_stores.vector_store_file_batch import FileCounts
from pydantic import BaseModel, Field, model_validator

from rag.chunk import ChunkingStrategy
from rag.types import AttributeValue
from services.api.vector_stores.schemas import Chunking
from services.api.wire import Attributes, Text, WireRequest
from services.ingestion import WantedFile
from services.storage import store_files
from services.storage.generations import strategy_of
from services.storage.tables import DocumentRow, FileBatchRow, GenerationRow

ErrorCode: TypeAlias = Literal["server_error", "unsupported_file", "invalid_file"]
ERROR_CODES: dict[str, ErrorCode] = {"unsupported_file": "unsupported_file", "invalid_file": "invalid_file"}


class AddFile(WireRequest):
    file_id: Text
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None

    def file(self) -> WantedFile:
        """Raises InvalidChunking."""
        chunking = self.chunking_strategy.strategy() if self.chunking_strategy else None
        return WantedFile(file_id=self.file_id, attributes=self.attributes, chunking=chunking)


class UpdateFile(WireRequest):
    """All attributes anew; null takes them away."""

    attributes: Attributes | None


class CreateBatch(WireRequest):
    """Ids that share attributes and strategy, or files that each have their own."""

    file_ids: Annotated[list[Text], Field(min_length=1, max_length=2000)] | None = None
    files: Annotated[list[AddFile], Field(min_length=1, max_length=2000)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "CreateBatch":
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("give either 'file_ids' or 'files'")
        return self

    def each(self) -> list[AddFile]:
        """Give the files with what holds for each; of a file that is named twice the last counts."""
        given = self.files or [
            AddFile(file_id=file_id, attributes=self.attributes, chunking_strategy=self.chunking_strategy)
            for file_id in self.file_ids or ()
        ]
        return list({file.file_id: file for file in given}.values())


class FileContent(BaseModel):
    """The parsed text of a file."""

    object: Literal["vector_store.file_content.page"]
    data: list[FileContentResponse]
    has_more: bool
    next_page: str | None


def store_file_object(
    row: DocumentRow, attributes: Mapping[str, AttributeValue], live: GenerationRow
) -> VectorStoreFile:
    """Give the wire form of a file in a store that is searched by the generation `live`."""
    failed = row.error_code is not None
    return VectorStoreFile(
        id=row.file_id,
        object="vector_store.file",
        created_at=row.created_at,
        vector_store_id=row.store_id,
        status=row.status,  # type: ignore[arg-type]  # checked by the database
        usage_bytes=row.usage_bytes,
        last_error=_last_error(row) if failed else None,
        attributes=dict(attributes),
        chunking_strategy=_chunking(strategy_of(row, live)),
    )


def store_file_deleted(file_id: str) -> VectorStoreFileDeleted:
    return VectorStoreFileDeleted(id=file_id, object="vector_store.file.deleted", deleted=True)


def batch_object(row: FileBatchRow, counts: store_files.FileCounts) -> VectorStoreFileBatch:
    return VectorStoreFileBatch(
        id=row.id,
        object="vector_store.files_batch",
        created_at=row.created_at,
        vector_store_id=row.store_id,
        status=_batch_status(row, counts),
        file_counts=FileCounts.model_validate(counts.by_status | {"total": counts.total}),
    )


def file_content(text: str | None) -> FileContent:
    """Give the canonical text as one piece, so that the offsets of citations hold in it."""
    data = [] if text is None else [FileContentResponse(type="text", text=text)]
    return FileContent(object="vector_store.file_content.page", data=data, has_more=False, next_page=None)


def _last_error(row: DocumentRow) -> LastError:
    return LastError(code=ERROR_CODES.get(row.error_code or "", "server_error"), message=row.error_message or "")


def _chunking(strategy: ChunkingStrategy) -> StaticFileChunkingStrategyObject:
    sizes = StaticFileChunkingStrategy(
        max_chunk_size_tokens=strategy.max_tokens, chunk_overlap_tokens=strategy.overlap_tokens
    )
    return StaticFileChunkingStrategyObject(type="static", static=sizes)


def _batch_status(
    row: FileBatchRow, counts: store_files.FileCounts
) -> Literal["in_progress", "completed", "cancelled", "failed"]:
    if row.cancelled:
        return "cancelled"
    if counts.in_progress:
        return "in_progress"
    return "failed" if counts.total and counts.failed == counts.total else "completed"
