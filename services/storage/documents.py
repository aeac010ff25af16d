"""Documents of a store: a version replaces the one before it whole, in the caller's transaction.

A new version goes into the live generation and takes the document out of all others, which lack it from then on.
"""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from rag.ingest import Ingested
from rag.ports import VectorKey
from rag.types import Chunk, Document, Heading, Page
from services.storage.generations import raise_revision, raise_revisions
from services.storage.graphs import insert_graph
from services.storage.tables import (
    ChunkRow,
    DocumentRow,
    DocumentTextRow,
    FileRow,
    FileStatus,
    GenerationRow,
    GenerationState,
    IndexedDocumentRow,
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
    session: Session,
    document: DocumentRow,
    version: Ingested[Any],
    *,
    live: GenerationRow,
    sha256: str,
    vector_bytes: int,
) -> None:
    """Make a version the document's only one, completed and searchable. Raises VectorsGone."""
    keys = _add_vectors(session, document, version)
    old_keys = set() if document.chunked_sha256 is None else _remove_version(session, document)
    document.usage_bytes = _insert_indexed(session, live, document, version, vector_bytes)
    _insert_text(session, document, version)
    remove_unused_vectors(session, document.project_id, old_keys - keys)
    document.status = FileStatus.COMPLETED
    document.error_code = document.error_message = None
    document.chunked_sha256 = sha256
    raise_revisions(session, document.store_id)


def index_document(
    session: Session, generation: GenerationRow, seq: int, version: Ingested[Any], *, vector_bytes: int
) -> bool:
    """Put the text that a document has into a generation, in place of what it had there. Raises VectorsGone.

    False, with nothing changed, where the document has gone or has another text by now.
    """
    document = session.get(DocumentRow, seq)
    if document is None or not _has_text(session, seq, version.document):
        return False
    keys = _add_vectors(session, document, version)
    old_keys = take_out(session, generation.id, seq)
    used = _insert_indexed(session, generation, document, version, vector_bytes)
    if generation.state == GenerationState.LIVE:
        document.usage_bytes = used
    remove_unused_vectors(session, document.project_id, old_keys - keys)
    raise_revision(session, generation.id)
    return True


def take_out(session: Session, generation_id: int, seq: int) -> set[VectorKey]:
    """Take a document out of a generation; give the keys of the vectors that it used there."""
    keys = _vector_keys(session, ChunkRow.document_seq == seq, ChunkRow.generation_id == generation_id)
    mine = (IndexedDocumentRow.document_seq == seq) & (IndexedDocumentRow.generation_id == generation_id)
    session.execute(delete(IndexedDocumentRow).where(mine))
    return keys


def read_document(session: Session, seq: int) -> Document | None:
    """Give a document as it was read from its file, if it has been."""
    mine = select(DocumentTextRow, DocumentRow.filename).join(DocumentRow).where(DocumentRow.seq == seq)
    found = session.execute(mine).one_or_none()
    if found is None:
        return None
    row, filename = found
    pages = tuple(Page(number=number, start=start, end=end) for number, start, end in row.pages)
    return Document(
        name=filename,
        media_type=row.media_type,
        text=row.text,
        title=row.title,
        pages=pages,
        headings=_headings(session, row, pages),
    )


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
    raise_revisions(session, document.store_id)


def delete_store(session: Session, store: VectorStoreRow) -> None:
    """Remove a store with its documents; their files stay."""
    mine = select(GenerationRow.id).where(GenerationRow.store_id == store.id)
    keys = _vector_keys(session, ChunkRow.generation_id.in_(mine))
    session.execute(delete(VectorStoreRow).where(VectorStoreRow.seq == store.seq))
    remove_unused_vectors(session, store.project_id, keys)


def _add_vectors(session: Session, document: DocumentRow, version: Ingested[Any]) -> set[VectorKey]:
    keys = {key for chunk_keys in version.keys for key in chunk_keys}
    if not add_vectors(session, document.project_id, keys, version.vectors):
        raise VectorsGone
    return keys


def _remove_version(session: Session, document: DocumentRow) -> set[VectorKey]:
    """Remove the chunks of all generations and the text; give the keys of the vectors that they used."""
    keys = _vector_keys(session, ChunkRow.document_seq == document.seq)
    session.execute(delete(IndexedDocumentRow).where(IndexedDocumentRow.document_seq == document.seq))
    session.execute(delete(DocumentTextRow).where(DocumentTextRow.document_seq == document.seq))
    return keys


def _has_text(session: Session, seq: int, document: Document) -> bool:
    mine = select(DocumentTextRow.text, DocumentTextRow.media_type).where(DocumentTextRow.document_seq == seq)
    return session.execute(mine).one_or_none() == (document.text, document.media_type)


def _insert_indexed(
    session: Session, generation: GenerationRow, document: DocumentRow, version: Ingested[Any], vector_bytes: int
) -> int:
    """Put a version into a generation; give the bytes that it takes up."""
    used = _usage_bytes(version, vector_bytes)
    values = {"document_seq": document.seq, "generation_id": generation.id, "usage_bytes": used}
    session.execute(insert(IndexedDocumentRow), [values | {"project_id": document.project_id}])
    if version.chunks:
        _insert_chunks(session, generation, document, version)
    return used


def _insert_chunks(session: Session, generation: GenerationRow, document: DocumentRow, version: Ingested[Any]) -> None:
    added = session.execute(
        insert(ChunkRow).returning(ChunkRow.ordinal, ChunkRow.id),
        [_chunk_values(generation, document, chunk) for chunk in version.chunks],
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
    if version.graphs:
        insert_graph(session, generation, ids, version.graphs)


def _chunk_values(generation: GenerationRow, document: DocumentRow, chunk: Chunk) -> dict[str, Any]:
    return {
        "project_id": document.project_id,
        "generation_id": generation.id,
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
        "headings": [[heading.level, heading.title, heading.start] for heading in version.document.headings],
    }
    session.execute(insert(DocumentTextRow), [text])


def _headings(session: Session, row: DocumentTextRow, pages: tuple[Page, ...]) -> tuple[Heading, ...]:
    if row.headings is not None:
        return tuple(Heading(level=level, title=title, start=start) for level, title, start in row.headings)
    from rag.parse.headings import headings_titled

    paths = session.scalars(select(ChunkRow.heading_path).where(ChunkRow.document_seq == row.document_seq))
    return headings_titled(row.text, pages, {title for path in paths for title in path})


def _vector_keys(session: Session, *chunks: ColumnElement[bool]) -> set[VectorKey]:
    return set(session.scalars(select(WindowRow.vector_key).join(ChunkRow).where(*chunks)))


def _usage_bytes(version: Ingested[Any], vector_bytes: int) -> int:
    """The bytes of the text and of its vectors, those that were at hand before included."""
    return len(version.document.text.encode()) + vector_bytes * sum(len(keys) for keys in version.keys)
