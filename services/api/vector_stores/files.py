"""What holds for the files of a store: one document a file, whoever adds it and however often."""

from openai.types.vector_stores import VectorStoreFile, VectorStoreFileBatch
from sqlalchemy.orm import Session

from services.api.idempotency import Creating
from services.api.vector_stores.file_schemas import (
    AddFile,
    CreateBatch,
    FileContent,
    UpdateFile,
    batch_object,
    file_content,
    store_file_object,
)
from services.api.vector_stores.service import require_live_store, require_store
from services.errors import NotFound
from services.ingestion import Ingestion
from services.storage.attributes import read_attributes, write_attributes
from services.storage.database import Database
from services.storage.documents import delete_document
from services.storage.file_batches import add_batch, find_batch, unfinished_files
from services.storage.generations import live_generation
from services.storage.store_files import count_batch, find_store_files, read_text
from services.storage.tables import DocumentRow, FileBatchRow, VectorStoreRow


def add_store_file(creating: Creating, ingestion: Ingestion, store_id: str, wanted: AddFile) -> VectorStoreFile:
    """Begin to ingest a file, or again if it failed; one that is as wanted already is left as it is."""

    def make(session: Session) -> VectorStoreFile:
        store = require_live_store(session, creating.project_id, store_id)
        (document,) = ingestion.add_files(session, store.project_id, store.id, [wanted.file()])
        return described(session, document)

    return creating.once(VectorStoreFile, wanted.model_dump(), make)


def require_store_file(session: Session, store: VectorStoreRow, file_id: str) -> DocumentRow:
    """Give a file of a store. Raises NotFound."""
    document = find_store_files(session, store.id, [file_id]).get(file_id)
    if document is None:
        raise NotFound(f"No file found with id {file_id!r} in vector store {store.id!r}.", param="file_id")
    return document


def update_store_file(
    database: Database, project_id: str, store_id: str, file_id: str, changes: UpdateFile
) -> VectorStoreFile:
    """Set a file's attributes; searches filter by them from then on."""
    with database.write() as session:
        document = require_store_file(session, require_store(session, project_id, store_id), file_id)
        write_attributes(session, [(document, changes.attributes or {})])
        return described(session, document)


def remove_store_file(database: Database, ingestion: Ingestion, project_id: str, store_id: str, file_id: str) -> None:
    """Take a file out of a store; the file itself stays."""
    with database.write() as session:
        document = require_store_file(session, require_store(session, project_id, store_id), file_id)
        ingestion.cancel(session, [document])
        delete_document(session, document)


def read_content(database: Database, project_id: str, store_id: str, file_id: str) -> FileContent:
    """Give the text that was read out of a file; nothing before it has been."""
    with database.read() as session:
        document = require_store_file(session, require_store(session, project_id, store_id), file_id)
        return file_content(read_text(session, document))


def create_batch(creating: Creating, ingestion: Ingestion, store_id: str, wanted: CreateBatch) -> VectorStoreFileBatch:
    """Begin to ingest many files: all or, when one of them is not there, none."""

    def make(session: Session) -> VectorStoreFileBatch:
        store = require_live_store(session, creating.project_id, store_id)
        batch = add_batch(session, store)
        files = [one.file() for one in wanted.each()]
        ingestion.add_files(session, store.project_id, store.id, files, batch_id=batch.id)
        session.flush()
        return batch_object(batch, count_batch(session, batch))

    return creating.once(VectorStoreFileBatch, wanted.model_dump(), make)


def require_batch(session: Session, store: VectorStoreRow, batch_id: str) -> FileBatchRow:
    """Give a batch of a store. Raises NotFound."""
    batch = find_batch(session, store, batch_id)
    if batch is None:
        raise NotFound(f"No file batch found with id {batch_id!r} in vector store {store.id!r}.", param="batch_id")
    return batch


def cancel_batch(
    database: Database, ingestion: Ingestion, project_id: str, store_id: str, batch_id: str
) -> VectorStoreFileBatch:
    """Stop what has not ended yet; what has been ingested stays."""
    with database.write() as session:
        batch = require_batch(session, require_store(session, project_id, store_id), batch_id)
        unfinished = unfinished_files(session, batch)
        ingestion.cancel(session, unfinished)
        batch.cancelled = batch.cancelled or bool(unfinished)
        session.flush()
        return batch_object(batch, count_batch(session, batch))


def described(session: Session, document: DocumentRow) -> VectorStoreFile:
    attributes = read_attributes(session, [document.seq]).get(document.seq, {})
    return store_file_object(document, attributes, live_generation(session, document.store_id))
