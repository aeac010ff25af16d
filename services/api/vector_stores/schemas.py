"""The wire of vector stores."""

import time
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from openai.types import StaticFileChunkingStrategy, StaticFileChunkingStrategyObject, VectorStoreDeleted
from openai.types import VectorStore as OpenAIVectorStore
from openai.types.vector_store import ExpiresAfter, FileCounts
from pydantic import BaseModel, Field

from rag.chunk import AUTO, ChunkingStrategy
from services.api.wire import Metadata, Text, WireRequest
from services.storage import store_files
from services.storage.overview import GenerationOverview
from services.storage.tables import VectorStoreRow
from services.storage.vector_stores import expires_at, is_expired


class AutoChunking(WireRequest):
    type: Literal["auto"]

    def strategy(self) -> None:
        """None stands for the default, whatever it comes to be."""


class ChunkSizes(WireRequest):
    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class StaticChunking(WireRequest):
    type: Literal["static"]
    static: ChunkSizes

    def strategy(self) -> ChunkingStrategy:
        """Raises InvalidChunking outside the limits."""
        sizes = self.static
        return ChunkingStrategy(max_tokens=sizes.max_chunk_size_tokens, overlap_tokens=sizes.chunk_overlap_tokens)


Chunking: TypeAlias = Annotated[AutoChunking | StaticChunking, Field(discriminator="type")]


class Expiry(WireRequest):
    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class CreateVectorStore(WireRequest):
    name: Text | None = None
    description: Text | None = None
    file_ids: Annotated[list[Text], Field(max_length=500)] | None = None
    chunking_strategy: Chunking | None = None
    expires_after: Expiry | None = None
    metadata: Metadata | None = None
    graph: bool = False


class UpdateVectorStore(WireRequest):
    """What is absent stays; what is null is cleared."""

    name: Text | None = None
    description: Text | None = None
    expires_after: Expiry | None = None
    metadata: Metadata | None = None
    embedder: Text | None = None
    chunking_strategy: Chunking | None = None
    graph: bool | None = None

    def chunking(self) -> ChunkingStrategy | None:
        """Give how the store is to cut from now on; None for as it does. Raises InvalidChunking."""
        return (self.chunking_strategy.strategy() or AUTO) if self.chunking_strategy else None


class FileProgress(BaseModel):
    completed: int
    total: int


class Generation(BaseModel):
    """A generation of a store's index: what it is made with, and how far it is made."""

    id: int
    state: Literal["building", "ready", "live", "retired", "failed"]
    embedder: str
    chunking_strategy: StaticFileChunkingStrategyObject
    graph: bool
    documents: FileProgress
    error: str | None


class VectorStore(OpenAIVectorStore):
    """OpenAI's store, with the description that it takes but does not give, and the generations of its index."""

    description: str | None = None
    generations: list[Generation]


def store_object(
    row: VectorStoreRow, counts: store_files.FileCounts, generations: Sequence[GenerationOverview]
) -> VectorStore:
    """Give the wire form of a store; one without a name has an empty one there, since null is not allowed."""
    store = VectorStore(
        id=row.id,
        object="vector_store",
        created_at=row.created_at,
        name=row.name or "",
        description=row.description,
        usage_bytes=counts.usage_bytes,
        file_counts=FileCounts.model_validate(counts.by_status | {"total": counts.total}),
        status=_status(row, counts),
        last_active_at=row.last_active_at,
        expires_at=expires_at(row),
        metadata=row.metadata_,
        generations=[_generation(one) for one in generations],
    )
    if row.expires_after_days is not None:
        store.expires_after = ExpiresAfter(anchor="last_active_at", days=row.expires_after_days)
    return store


def _generation(one: GenerationOverview) -> Generation:
    sizes = StaticFileChunkingStrategy(max_chunk_size_tokens=one.chunk_tokens, chunk_overlap_tokens=one.overlap_tokens)
    return Generation(
        id=one.id,
        state=one.state,  # type: ignore[arg-type]  # checked by the database
        embedder=one.embedder,
        chunking_strategy=StaticFileChunkingStrategyObject(type="static", static=sizes),
        graph=one.graph,
        documents=FileProgress(completed=one.documents_done, total=one.documents),
        error=one.error,
    )


def store_deleted(store_id: str) -> VectorStoreDeleted:
    return VectorStoreDeleted(id=store_id, object="vector_store.deleted", deleted=True)


def _status(row: VectorStoreRow, counts: store_files.FileCounts) -> Literal["expired", "in_progress", "completed"]:
    if is_expired(row, int(time.time())):
        return "expired"
    return "in_progress" if counts.in_progress else "completed"
