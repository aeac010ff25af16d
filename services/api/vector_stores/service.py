"""What holds for vector stores."""

import time
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.api.idempotency import Creating
from services.api.vector_stores.schemas import CreateVectorStore, UpdateVectorStore, VectorStore, store_object
from services.embedders import embedder_setting
from services.errors import NotFound
from services.ingestion import Ingestion, WantedFile
from services.storage.database import Database
from services.storage.documents import delete_store
from services.storage.overview import generation_overviews
from services.storage.store_files import count_by_store
from services.storage.tables import VectorStoreRow
from services.storage.vector_stores import create_store, find_store, is_expired
from services.wiring import Services


def require_store(session: Session, project_id: str, store_id: str) -> VectorStoreRow:
    """Give a store of the project. Raises NotFound."""
    row = find_store(session, project_id, store_id)
    if row is None:
        raise NotFound(f"No vector store found with id {store_id!r}.", param="vector_store_id")
    return row


def require_live_store(session: Session, project_id: str, store_id: str) -> VectorStoreRow:
    """Give a store that files can be added to. Raises NotFound."""
    row = require_store(session, project_id, store_id)
    if is_expired(row, int(time.time())):
        raise NotFound(f"The vector store {store_id!r} has expired.", param="vector_store_id", code="expired")
    return row


def create_vector_store(
    creating: Creating, ingestion: Ingestion, wanted: CreateVectorStore, *, embedder: str
) -> VectorStore:
    """Make a store and begin to ingest its first files: all of it or, when one is not there, nothing."""
    chunking = wanted.chunking_strategy.strategy() if wanted.chunking_strategy else None

    def make(session: Session) -> VectorStore:
        row = create_store(
            session,
            creating.project_id,
            name=wanted.name,
            description=wanted.description,
            embedder=embedder,
            expires_after_days=wanted.expires_after.days if wanted.expires_after else None,
            metadata=wanted.metadata,
            graph=wanted.graph,
        )
        files = [WantedFile(file_id=file_id, chunking=chunking) for file_id in dict.fromkeys(wanted.file_ids or ())]
        ingestion.add_files(session, creating.project_id, row.id, files)
        session.flush()
        return described(session, row)

    return creating.once(VectorStore, wanted.model_dump(), make)


def update_vector_store(services: Services, project_id: str, store_id: str, changes: UpdateVectorStore) -> VectorStore:
    """Change what is given and leave the rest; what the index is made with changes when it is made anew.

    Raises NotFound, BadRequest while another index is being made, InvalidChunking.
    """
    embedder = changes.embedder and embedder_setting(services, project_id, changes.embedder)
    chunking = changes.chunking()
    with services.database.write() as session:
        row = require_store(session, project_id, store_id)
        given = changes.model_fields_set
        if "name" in given:
            row.name = changes.name
        if "description" in given:
            row.description = changes.description
        if "metadata" in given:
            row.metadata_ = changes.metadata or {}
        if "expires_after" in given:
            row.expires_after_days = changes.expires_after.days if changes.expires_after else None
        if embedder or chunking or changes.graph is not None:
            services.generations.begin(session, row, embedder=embedder, chunking=chunking, graph=changes.graph)
        return described(session, row)


def roll_back(services: Services, project_id: str, store_id: str) -> VectorStore:
    """Begin to bring back the index that was live before. Raises NotFound, BadRequest where there is none."""
    with services.database.write() as session:
        row = require_store(session, project_id, store_id)
        services.generations.roll_back(session, row)
        return described(session, row)


def cancel_generation(services: Services, project_id: str, store_id: str) -> VectorStore:
    """Call off the index that is being made. Raises NotFound, BadRequest where there is none."""
    with services.database.write() as session:
        row = require_store(session, project_id, store_id)
        services.generations.cancel(session, row)
        return described(session, row)


def delete_vector_store(database: Database, project_id: str, store_id: str) -> None:
    """Remove a store with its documents; the files stay. Raises NotFound."""
    with database.write() as session:
        delete_store(session, require_store(session, project_id, store_id))


def described(session: Session, row: VectorStoreRow) -> VectorStore:
    return store_objects(session, [row])[0]


def store_objects(session: Session, rows: Sequence[VectorStoreRow]) -> list[VectorStore]:
    counts = count_by_store(session, rows)
    return [store_object(row, counts[row.id], generation_overviews(session, row.id)) for row in rows]
