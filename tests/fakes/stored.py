"""Rows put straight into a database, for tests of what reads them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from rag.chunk import AUTO
from rag.ingest import Ingested, vector_key
from rag.types import AttributeValue, Chunk, ChunkId, Document, Window
from services.storage.attributes import write_attributes
from services.storage.blobs import Blob
from services.storage.database import Database
from services.storage.documents import Version, add_documents, delete_document, store_versions
from services.storage.files import add_file
from services.storage.generations import add_generation, live_generation
from services.storage.tables import (
    DEFAULT_PROJECT,
    ChunkRow,
    DocumentRow,
    FileRow,
    GenerationRow,
    GenerationState,
    VectorStoreRow,
)

NO_BLOB = Blob(sha256="0" * 64, size_bytes=1)


def add_store(database: Database, store_id: str, *, embedder: str = "words") -> None:
    with database.write() as session:
        store = VectorStoreRow(id=store_id, project_id=DEFAULT_PROJECT, name=store_id, created_at=0, last_active_at=0)
        session.add(store)
        session.flush()
        add_generation(session, store, embedder=embedder, chunking=AUTO, state=GenerationState.LIVE, turn=1)


def live_of(database: Database, store_id: str) -> GenerationRow:
    with database.read() as session:
        return live_generation(session, store_id)


def put_file(session: Session, name: str = "a.txt", blob: Blob = NO_BLOB) -> FileRow:
    return add_file(session, DEFAULT_PROJECT, filename=name, purpose="assistants", blob=blob)


def one_chunk(text: str, vectors: Any, *, title: str | None = None, sentences: Any = ()) -> Ingested[None]:
    """A document of one chunk; each of its windows has the vector of that place, and all these sentences."""
    rows = np.asarray(vectors, dtype=np.float32)
    keys = tuple(vector_key(f"test {row.tolist()}", text) for row in rows)
    windows = tuple(Window(start=0, end=len(text)) for _ in rows)
    chunk = Chunk(ordinal=0, text=text, start=0, end=len(text), tokens=1, windows=windows)
    document = Document(name=text, media_type="text/plain", text=text, title=title)
    inside = np.asarray(sentences, dtype=np.float32).reshape(-1, rows.shape[1])
    made = {key: np.concatenate([row[None], inside]) for key, row in zip(keys, rows, strict=True)}
    return Ingested(ref=None, document=document, chunks=(chunk,), keys=(keys,), vectors=made)


def add_document(
    database: Database,
    store_id: str,
    text: str,
    vectors: Any,
    *,
    title: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    sentences: Any = (),
) -> ChunkId:
    """Store a document of one chunk and give the chunk's id."""
    with database.write() as session:
        file = put_file(session, f"{text}.txt")
        (document,) = add_documents(session, store_id, {file.id: file})
        write_attributes(session, [(document, attributes or {})])
        made = one_chunk(text, vectors, title=title, sentences=sentences)
        live = live_generation(session, store_id)
        version = Version(document=document, made=made, generation=live, sha256="0" * 64)
        store_versions(session, [version], vector_bytes=8)
        return ChunkId(session.scalars(select(ChunkRow.id).where(ChunkRow.document_seq == document.seq)).one())


def remove_document(database: Database, chunk_id: ChunkId) -> None:
    with database.write() as session:
        chunk = session.get_one(ChunkRow, chunk_id)
        delete_document(session, session.get_one(DocumentRow, chunk.document_seq))
