"""Documents of a store: a version replaces the one before it whole, in the caller's transaction."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from rag.ingest import Ingested, VectorKey
from rag.types import Chunk
from services.storage.tables import (
    ChunkRow,
    DocumentRow,
    DocumentTextRow,
    FileRow,
    FileStatus,
    VectorStoreRow,
    WindowRow,
)
from services.storage.vectors import add_vectors, remove_unused_vectors


class VectorsGone(Exception):
    """A vector that was known when the text was cut has been removed since; do it again."""


def find_document(session: Session, store_id: str, source: str) -> DocumentRow | None:
    """Give the document of that identity: a file id over HTTP, an absolute path by CLI."""
    return session.scalar(select(DocumentRow).where(DocumentRow.store_id == store_id, DocumentRow.source == source))


def add_documents(session: Session, store_id: str, files: Mapping[str, FileRow]) -> list[DocumentRow]:
    """Make documents that have no version yet, of files by their source."""
    now = int(time.time())
    rows = [
        DocumentRow(
            project_id=file.project_id,
            store_id=store_id,
            source=source,
            file_id=file.id,
            filename=file.filename,
            created_at=now,
        )
        for source, file in files.items()
    ]
    session.add_all(rows)
    session.flush()
    return rows


def store_version(
    session: Session, document: DocumentRow, version: Ingested[Any], *, sha256: str, vector_bytes: int
) -> None:
    """Make a version the document's only one, completed and searchable. Raises VectorsGone."""
    keys = {key for chunk_keys in version.keys for key in chunk_keys}
    if not add_vectors(session, document.project_id, keys, version.vectors):
        raise VectorsGone
    old_keys = set() if document.chunked_sha256 is None else _remove_version(session, document)
    _insert_chunks(session, document, version)
    _insert_text(session, document, version)
    remove_unused_vectors(session, document.project_id, old_keys - keys)
    document.status = FileStatus.COMPLETED
    document.error_code = document.error_message = None
    document.chunked_sha256 = sha256
    document.usage_bytes = _usage_bytes(version, vector_bytes)
    raise_revision(session, document.store_id)


def fail_document(session: Session, seq: int, code: str, message: str) -> None:
    """Say why a document could not be ingested. A version that is searchable stays so."""
    session.execute(
        update(DocumentRow)
        .where(DocumentRow.seq == seq)
        .values(status=FileStatus.FAILED, error_code=code, error_message=message)
    )


def delete_document(session: Session, document: DocumentRow) -> None:
    """Remove a document from its store with all that was made of it; its file stays."""
    keys = _vector_keys(session, ChunkRow.document_seq == document.seq)
    session.execute(delete(DocumentRow).where(DocumentRow.seq == document.seq))
    remove_unused_vectors(session, document.project_id, keys)
    raise_revision(session, document.store_id)


def delete_store(session: Session, store: VectorStoreRow) -> None:
    """Remove a store with its documents; their files stay."""
    keys = _vector_keys(session, ChunkRow.store_id == store.id)
    session.execute(delete(VectorStoreRow).where(VectorStoreRow.seq == store.seq))
    remove_unused_vectors(session, store.project_id, keys)


def raise_revision(session: Session, store_id: str) -> None:
    """Tell every process that the store's searchable chunks have changed."""
    session.execute(
        update(VectorStoreRow).where(VectorStoreRow.id == store_id).values(revision=VectorStoreRow.revision + 1)
    )


def _remove_version(session: Session, document: DocumentRow) -> set[VectorKey]:
    """Remove the chunks and the text; give the keys of the vectors that they used."""
    keys = _vector_keys(session, ChunkRow.document_seq == document.seq)
    session.execute(delete(ChunkRow).where(ChunkRow.document_seq == document.seq))
    session.execute(delete(DocumentTextRow).where(DocumentTextRow.document_seq == document.seq))
    return keys


def _insert_chunks(session: Session, document: DocumentRow, version: Ingested[Any]) -> None:
    if not version.chunks:
        return
    added = session.execute(
        insert(ChunkRow).returning(ChunkRow.ordinal, ChunkRow.id),
        [_chunk_values(document, chunk) for chunk in version.chunks],
    )
    ids = {row.ordinal: row.id for row in added}
    windows = [
        {
            "chunk_id": ids[chunk.ordinal],
            "ordinal": ordinal,
            "project_id": document.project_id,
            "start": window.start,
            "end": window.end,
            "vector_key": key,
        }
        for chunk, keys in zip(version.chunks, version.keys, strict=True)
        for ordinal, (window, key) in enumerate(zip(chunk.windows, keys, strict=True))
    ]
    session.execute(insert(WindowRow), windows)


def _chunk_values(document: DocumentRow, chunk: Chunk) -> dict[str, Any]:
    return {
        "project_id": document.project_id,
        "store_id": document.store_id,
        "document_seq": document.seq,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "page": chunk.page,
        "heading_path": list(chunk.heading_path),
    }


def _insert_text(session: Session, document: DocumentRow, version: Ingested[Any]) -> None:
    text = {
        "document_seq": document.seq,
        "project_id": document.project_id,
        "media_type": version.document.media_type,
        "title": version.document.title,
        "text": version.document.text,
        "pages": [[page.number, page.start, page.end] for page in version.document.pages],
    }
    session.execute(insert(DocumentTextRow), [text])


def _vector_keys(session: Session, chunks: ColumnElement[bool]) -> set[VectorKey]:
    return set(session.scalars(select(WindowRow.vector_key).join(ChunkRow).where(chunks)))


def _usage_bytes(version: Ingested[Any], vector_bytes: int) -> int:
    """The bytes of the text and of its vectors, those that were at hand before included."""
    return len(version.document.text.encode()) + vector_bytes * sum(len(keys) for keys in version.keys)
