"""Documents of a store: a version replaces the one before it whole, in the caller's transaction.

A new version goes into the live generation and takes the document out of all others, which lack it from then on.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from rag.ingest import Ingested
from rag.ports import VectorKey
from rag.types import Document, Heading, Page
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """What a document is to have in a generation, made of its text: that of the bytes of this hash."""

    document: DocumentRow
    made: Ingested[Any]
    generation: GenerationRow
    sha256: str | None

    @property
    def keys(self) -> set[VectorKey]:
        return {key for chunk_keys in self.made.keys for key in chunk_keys}


def find_documents(session: Session, store_id: str, sources: Collection[str]) -> dict[str, DocumentRow]:
    """Give those of the documents that there are, by their identity: a file id over HTTP, an absolute path by CLI."""
    mine = select(DocumentRow).where(DocumentRow.store_id == store_id, DocumentRow.source.in_(sources))
    return {row.source: row for row in session.scalars(mine)}


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


def store_versions(session: Session, versions: Sequence[Version], *, vector_bytes: int) -> list[Version]:
    """Make each of one project's versions its document's only one, completed and searchable; give those stored.

    One that lacks a vector, known when its text was cut and removed since, is left out: it is to be made again.
    """
    whole = _with_vectors(session, versions)
    old_keys: set[VectorKey] = set()
    for version in whole:
        document = version.document
        if document.chunked_sha256 is not None:
            old_keys |= _remove_version(session, document)
        document.usage_bytes = _usage_bytes(version.made, vector_bytes)
        document.status = FileStatus.COMPLETED
        document.error_code = document.error_message = None
        document.chunked_sha256 = version.sha256
    _insert_indexed(session, whole, vector_bytes)
    _insert_texts(session, whole)
    _remove_unused(session, whole, old_keys)
    for store_id in sorted({version.document.store_id for version in whole}):
        raise_revisions(session, store_id)
    return whole


def index_document(
    session: Session, generation: GenerationRow, seq: int, made: Ingested[Any], *, vector_bytes: int
) -> bool:
    """Put the text that a document has into a generation, in place of what it had there.

    False, with nothing changed, where the document has gone or has another text by now, or a vector has been removed
    that was known when the text was cut.
    """
    document = session.get(DocumentRow, seq)
    if document is None or not _has_text(session, seq, made.document):
        return False
    version = Version(document=document, made=made, generation=generation, sha256=document.chunked_sha256)
    if not _with_vectors(session, [version]):
        return False
    old_keys = take_out(session, generation.id, seq)
    _insert_indexed(session, [version], vector_bytes)
    if generation.state == GenerationState.LIVE:
        document.usage_bytes = _usage_bytes(made, vector_bytes)
    _remove_unused(session, [version], old_keys)
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


def _with_vectors(session: Session, versions: Sequence[Version]) -> list[Version]:
    """Give those of one project's versions whose vectors are all there, by now."""
    if not versions:
        return []
    made = {key: vectors for version in versions for key, vectors in version.made.vectors.items()}
    whole = add_vectors(session, versions[0].document.project_id, [version.keys for version in versions], made)
    return list(compress(versions, whole))


def _remove_unused(session: Session, versions: Sequence[Version], old_keys: set[VectorKey]) -> None:
    """Remove those of the vectors that were used before and that neither these versions nor others use."""
    if unused := old_keys.difference(*(version.keys for version in versions)):
        remove_unused_vectors(session, versions[0].document.project_id, unused)


def _remove_version(session: Session, document: DocumentRow) -> set[VectorKey]:
    """Remove the chunks of all generations and the text; give the keys of the vectors that they used."""
    keys = _vector_keys(session, ChunkRow.document_seq == document.seq)
    session.execute(delete(IndexedDocumentRow).where(IndexedDocumentRow.document_seq == document.seq))
    session.execute(delete(DocumentTextRow).where(DocumentTextRow.document_seq == document.seq))
    return keys


def _has_text(session: Session, seq: int, document: Document) -> bool:
    mine = select(DocumentTextRow.text, DocumentTextRow.media_type).where(DocumentTextRow.document_seq == seq)
    return session.execute(mine).one_or_none() == (document.text, document.media_type)


def _insert_indexed(session: Session, versions: Sequence[Version], vector_bytes: int) -> None:
    """Put versions into their generations: documents, chunks, windows and graphs."""
    if versions:
        session.execute(insert(IndexedDocumentRow), [_indexed_values(version, vector_bytes) for version in versions])
    chunks = [values for version in versions for values in _chunk_values(version)]
    if chunks:
        inserting = insert(ChunkRow).returning(ChunkRow.document_seq, ChunkRow.ordinal, ChunkRow.id)
        added = session.execute(inserting, chunks)
        ids = {(row.document_seq, row.ordinal): row.id for row in added}
        windows = [values for version in versions for values in _window_values(version, ids)]
        session.execute(insert(WindowRow), windows)
        for version in versions:
            if version.made.graphs:
                mine = {chunk.ordinal: ids[version.document.seq, chunk.ordinal] for chunk in version.made.chunks}
                insert_graph(session, version.generation, mine, version.made.graphs)


def _indexed_values(version: Version, vector_bytes: int) -> dict[str, Any]:
    return {
        "document_seq": version.document.seq,
        "generation_id": version.generation.id,
        "project_id": version.document.project_id,
        "usage_bytes": _usage_bytes(version.made, vector_bytes),
    }


def _chunk_values(version: Version) -> Iterator[dict[str, Any]]:
    for chunk in version.made.chunks:
        yield {
            "project_id": version.document.project_id,
            "generation_id": version.generation.id,
            "document_seq": version.document.seq,
            "ordinal": chunk.ordinal,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "tokens": chunk.tokens,
            "page": chunk.page,
            "heading_path": list(chunk.heading_path),
        }


def _window_values(version: Version, ids: Mapping[tuple[int, int], int]) -> Iterator[dict[str, Any]]:
    for chunk, keys in zip(version.made.chunks, version.made.keys, strict=True):
        for ordinal, (window, key) in enumerate(zip(chunk.windows, keys, strict=True)):
            yield {
                "chunk_id": ids[version.document.seq, chunk.ordinal],
                "ordinal": ordinal,
                "project_id": version.document.project_id,
                "start": window.start,
                "end": window.end,
                "vector_key": key,
            }


def _insert_texts(session: Session, versions: Sequence[Version]) -> None:
    texts = [
        {
            "document_seq": version.document.seq,
            "project_id": version.document.project_id,
            "media_type": read.media_type,
            "title": read.title,
            "text": read.text,
            "pages": [[page.number, page.start, page.end] for page in read.pages],
            "headings": [[heading.level, heading.title, heading.start] for heading in read.headings],
        }
        for version in versions
        for read in [version.made.document]
    ]
    if texts:
        session.execute(insert(DocumentTextRow), texts)


def _headings(session: Session, row: DocumentTextRow, pages: tuple[Page, ...]) -> tuple[Heading, ...]:
    if row.headings is not None:
        return tuple(Heading(level=level, title=title, start=start) for level, title, start in row.headings)
    from rag.parse.headings import headings_titled

    paths = session.scalars(select(ChunkRow.heading_path).where(ChunkRow.document_seq == row.document_seq))
    return headings_titled(row.text, pages, {title for path in paths for title in path})


def _vector_keys(session: Session, *chunks: ColumnElement[bool]) -> set[VectorKey]:
    return set(session.scalars(select(WindowRow.vector_key).join(ChunkRow).where(*chunks)))


def _usage_bytes(made: Ingested[Any], vector_bytes: int) -> int:
    """The bytes of the text and of its vectors, those that were at hand before included."""
    return len(made.document.text.encode()) + vector_bytes * sum(len(keys) for keys in made.keys)
