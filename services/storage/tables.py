"""The schema, one class a table. Rules that must always hold stand here as constraints.

Every table but `projects` carries `project_id`. Where the API lists a noun, `seq` gives its order
(`created_at` has only seconds). Times are unix seconds. Chunks are written once and never changed:
a new version of a document, and another generation of its store's index, has new chunks, under ids
that are never used again.
"""

from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DEFAULT_PROJECT = "default"


class Base(DeclarativeBase):
    """All tables. Which rows an index is of is said to SQLite here, and in the migrations to PostgreSQL too.

    Here that would load PostgreSQL's dialect, a tenth of what `loam ask` imports.
    """

    type_annotation_map: ClassVar = {
        # SQLite's have 64 bits under this name, and only a key of this name counts by itself.
        int: BigInteger().with_variant(Integer(), "sqlite"),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


def owned() -> Mapped[str]:
    return mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)


class FileStatus(StrEnum):
    """States of a file in a vector store, and of a batch of them; all but the first are ends."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class GenerationState(StrEnum):
    """States of a generation of a store's index; `services.generations` holds the transitions between them."""

    BUILDING = "building"
    READY = "ready"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"
    REMOVED = "removed"


class JobState(StrEnum):
    """States of a job; `services.jobs.job` holds the transitions between them."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def one_of(column: str, states: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class ProjectRow(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[int]


class KeyRow(Base):
    """An API key; only its sha256 is kept, and enough of its beginning to tell keys apart."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    name: Mapped[str]
    prefix: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    last_used_at: Mapped[int | None]
    revoked_at: Mapped[int | None]


class FileRow(Base):
    """An uploaded file; its bytes are the blob named by `sha256`."""

    __tablename__ = "files"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    filename: Mapped[str]
    purpose: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[int]
    expires_at: Mapped[int | None]


class UploadRow(Base):
    """A file that arrives in parts; `status` is pending, completed, cancelled or expired."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str]
    size_bytes: Mapped[int]
    status: Mapped[str]
    created_at: Mapped[int]
    expires_at: Mapped[int]
    file_expires_after_s: Mapped[int | None]
    file_id: Mapped[str | None]


class UploadPartRow(Base):
    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), index=True)
    sha256: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int]
    created_at: Mapped[int]


class VectorStoreRow(Base):
    """A vector store. What it is searched by is its live generation."""

    __tablename__ = "vector_stores"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    name: Mapped[str | None] = mapped_column(index=True)
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    expires_after_days: Mapped[int | None]
    created_at: Mapped[int]
    last_active_at: Mapped[int]


class GenerationRow(Base):
    """One making of a store's index. `embedder` is named as in the settings, `chunking` is how it cuts by itself.

    `sentences` is whether its passages are searched with theirs: those that an earlier loam made lack some vectors.
    `graph` is whether what its chunks name is kept as a knowledge graph (`graph_tables`) and searched over.
    Of a store one is live, and one at most is being made. `revision` grows with every change to its chunks.
    `turn` counts the store's switches: the last one to have been live has the highest. `error` says why one failed.
    """

    __tablename__ = "generations"
    __table_args__ = (
        Index(
            "uq_generations_live",
            "store_id",
            unique=True,
            sqlite_where=text("state = 'live'"),
            postgresql_where=text("state = 'live'"),
        ),
        Index(
            "uq_generations_building",
            "store_id",
            unique=True,
            sqlite_where=text("state IN ('building', 'ready')"),
            postgresql_where=text("state IN ('building', 'ready')"),
        ),
        one_of("state", GenerationState),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_id: Mapped[str] = owned()
    store_id: Mapped[str] = mapped_column(ForeignKey("vector_stores.id", ondelete="CASCADE"), index=True)
    state: Mapped[str]
    embedder: Mapped[str] = mapped_column(index=True)
    chunking: Mapped[dict[str, Any]]
    sentences: Mapped[bool] = mapped_column(server_default=false())
    graph: Mapped[bool] = mapped_column(server_default=false(), default=False)
    revision: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    created_at: Mapped[int]
    turn: Mapped[int | None]


class FileBatchRow(Base):
    """A group of files added to a store at once; its status follows from its documents'."""

    __tablename__ = "file_batches"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    store_id: Mapped[str] = mapped_column(ForeignKey("vector_stores.id", ondelete="CASCADE"), index=True)
    cancelled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int]


class DocumentRow(Base):
    """A file in a store. Its identity is (store, source): the file id over HTTP, the absolute path by CLI.

    `chunking` is the strategy as asked for, null for its store's. `chunked_sha256` tells, together
    with the strategy, whether the live chunks are of the file's present bytes.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("store_id", "source"),
        Index("ix_documents_store_file", "store_id", "file_id"),
        one_of("status", FileStatus),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_id: Mapped[str] = owned()
    store_id: Mapped[str] = mapped_column(ForeignKey("vector_stores.id", ondelete="CASCADE"))
    source: Mapped[str]
    file_id: Mapped[str] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), index=True)
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("file_batches.id", ondelete="SET NULL"), index=True)
    filename: Mapped[str]
    status: Mapped[str] = mapped_column(default=FileStatus.IN_PROGRESS)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    chunking: Mapped[dict[str, Any] | None]
    usage_bytes: Mapped[int] = mapped_column(default=0)
    chunked_sha256: Mapped[str | None]
    created_at: Mapped[int]


class AttributeRow(Base):
    """One attribute of a document. `text` for strings, `number` for numbers, `flag` for booleans."""

    __tablename__ = "document_attributes"
    __table_args__ = (Index("ix_document_attributes_key_text", "key", "text"),)

    document_seq: Mapped[int] = mapped_column(ForeignKey("documents.seq", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    position: Mapped[int]
    text: Mapped[str | None]
    number: Mapped[float | None]
    flag: Mapped[bool | None]


class DocumentTextRow(Base):
    """The canonical text of a document and its structure: pages as [number, start, end].

    `headings` are [level, title, start]; null where the text was kept before they were.
    """

    __tablename__ = "document_texts"

    document_seq: Mapped[int] = mapped_column(ForeignKey("documents.seq", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[str] = owned()
    media_type: Mapped[str]
    title: Mapped[str | None]
    text: Mapped[str]
    pages: Mapped[list[Any]]
    headings: Mapped[list[Any] | None]


class IndexedDocumentRow(Base):
    """A document that is in a generation, with all of its chunks; its present text, always."""

    __tablename__ = "indexed_documents"

    document_seq: Mapped[int] = mapped_column(ForeignKey("documents.seq", ondelete="CASCADE"), primary_key=True)
    generation_id: Mapped[int] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    usage_bytes: Mapped[int]


class ChunkRow(Base):
    __tablename__ = "chunks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["document_seq", "generation_id"],
            ["indexed_documents.document_seq", "indexed_documents.generation_id"],
            ondelete="CASCADE",
        ),
        Index("ix_chunks_generation", "generation_id", "id"),
        Index("ix_chunks_document", "document_seq", "generation_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    generation_id: Mapped[int]
    document_seq: Mapped[int]
    ordinal: Mapped[int]
    text: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    tokens: Mapped[int]
    page: Mapped[int | None]
    heading_path: Mapped[list[Any]]


class WindowRow(Base):
    """A span of a chunk and the vector of its text."""

    __tablename__ = "windows"

    chunk_id: Mapped[int] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    start: Mapped[int]
    end: Mapped[int]
    vector_key: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)


class VectorRow(Base):
    """A unit vector, float32 little-endian, under sha256(embedder id, text): what is never embedded twice.

    `sentences` are those of the text's sentences, one after the other, int8: each to a scale of its own, since only
    its direction counts. NULL is not made yet. `checksum` is the CRC-32 of the bytes of both.
    """

    __tablename__ = "vectors"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    checksum: Mapped[int] = mapped_column(BigInteger)
    sentences: Mapped[bytes | None] = mapped_column(LargeBinary)


class JobRow(Base):
    """Work in the background. At most one live job a subject, so that one thing is never done twice at once.

    `token` grows with each claim: who holds an older one has lost the job and may not write.
    `owner` is the worker that holds the lease or, of a queued job, the one that it is kept for.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_live_subject",
            "kind",
            "subject",
            unique=True,
            sqlite_where=text("state IN ('queued', 'running')"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_jobs_state", "state", "seq"),
        one_of("state", JobState),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    project_id: Mapped[str] = owned()
    kind: Mapped[str]
    subject: Mapped[str]
    state: Mapped[str] = mapped_column(default=JobState.QUEUED)
    attempts: Mapped[int] = mapped_column(default=0)
    token: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    not_before: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None]
    created_at: Mapped[int]
    finished_at: Mapped[int | None]


class ResponseRow(Base):
    """A stored response: `input` its input items, `body` the response as sent."""

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = owned()
    previous_id: Mapped[str | None]
    input: Mapped[list[Any]]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[int]


class ModelRow(Base):
    """A model added by `loam models add`; those of `loam.yaml` are not here."""

    __tablename__ = "models"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    engine: Mapped[str]
    source: Mapped[str]
    options: Mapped[dict[str, Any]]
    created_at: Mapped[int]


class IdempotencyRow(Base):
    """The answer to a create that carried an idempotency key, to be given again on a retry."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[int]
