"""Vector stores."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.orm import Session

from rag.chunk import AUTO, ChunkingStrategy
from rag.errors import EmbedderMismatch
from rag.ports import Embedder
from services.ids import VECTOR_STORE, new_id
from services.storage.generations import BEING_MADE, add_generation
from services.storage.paging import Page, PageRequest, read_page
from services.storage.tables import GenerationRow, GenerationState, VectorStoreRow

DAY_S = 86_400

_SEARCHED = (
    select(VectorStoreRow.expires_after_days, VectorStoreRow.last_active_at, GenerationRow.id, GenerationRow.revision)
    .join(
        GenerationRow,
        (GenerationRow.store_id == VectorStoreRow.id) & (GenerationRow.state == GenerationState.LIVE),
    )
    .where(VectorStoreRow.project_id == bindparam("project_id"), VectorStoreRow.id == bindparam("store_id"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What every search asks of a store: how long it is there, and its live generation as it stands now."""

    expires_after_days: int | None
    last_active_at: int
    generation_id: int
    revision: int


def create_store(
    session: Session,
    project_id: str,
    *,
    name: str | None,
    embedder: str,
    chunking: ChunkingStrategy = AUTO,
    description: str | None = None,
    expires_after_days: int | None = None,
    metadata: Mapping[str, str] | None = None,
    graph: bool = False,
) -> VectorStoreRow:
    """Make an empty store, with a live generation made with the embedder of that name and, if wanted, with a graph."""
    now = int(time.time())
    row = VectorStoreRow(
        id=new_id(VECTOR_STORE),
        project_id=project_id,
        name=name,
        description=description,
        expires_after_days=expires_after_days,
        metadata_=dict(metadata or {}),
        created_at=now,
        last_active_at=now,
    )
    session.add(row)
    session.flush()
    add_generation(session, row, embedder=embedder, chunking=chunking, state=GenerationState.LIVE, turn=1, graph=graph)
    return row


def list_stores(session: Session, project_id: str, request: PageRequest) -> Page[VectorStoreRow]:
    mine = VectorStoreRow.project_id == project_id
    cursors = select(VectorStoreRow.seq).where(mine)
    rows = select(VectorStoreRow).where(mine)
    return read_page(session, rows, request, seq=VectorStoreRow.seq, cursors=cursors, cursor_id=VectorStoreRow.id)


def find_store(session: Session, project_id: str, store_id: str) -> VectorStoreRow | None:
    mine = select(VectorStoreRow).where(VectorStoreRow.project_id == project_id)
    return session.scalar(mine.where(VectorStoreRow.id == store_id))


def find_searched(connection: Connection, project_id: str, store_id: str) -> Searched | None:
    """Give what a search asks of a store of the project, in one plain statement: it is a tenth of a search."""
    found = connection.execute(_SEARCHED, {"project_id": project_id, "store_id": store_id}).one_or_none()
    if found is None:
        return None
    days, active_at, generation_id, revision = found
    return Searched(expires_after_days=days, last_active_at=active_at, generation_id=generation_id, revision=revision)


def find_store_by_name(session: Session, project_id: str, name: str) -> VectorStoreRow | None:
    """Give the store of that id or, where there is none, the oldest of that name."""
    mine = select(VectorStoreRow).where(VectorStoreRow.project_id == project_id, VectorStoreRow.name == name)
    return find_store(session, project_id, name) or session.scalar(mine.order_by(VectorStoreRow.seq).limit(1))


def stores_made_with(session: Session, project_id: str, embedder: str) -> Sequence[VectorStoreRow]:
    """Give a project's stores that are searched with an embedder, or about to be, the oldest first."""
    named = select(GenerationRow.store_id).where(
        GenerationRow.project_id == project_id,
        GenerationRow.embedder == embedder,
        GenerationRow.state.in_((GenerationState.LIVE, *BEING_MADE)),
    )
    mine = select(VectorStoreRow).where(VectorStoreRow.id.in_(named))
    return session.scalars(mine.order_by(VectorStoreRow.seq)).all()


def expires_at(store: VectorStoreRow | Searched) -> int | None:
    """When a store expires, counted from when it was last active."""
    return None if store.expires_after_days is None else store.last_active_at + store.expires_after_days * DAY_S


def is_expired(store: VectorStoreRow | Searched, now: int) -> bool:
    expiry = expires_at(store)
    return expiry is not None and expiry <= now


def note_activity(session: Session, store_id: str, now: int) -> None:
    """Remember when a store was last searched or added to."""
    session.execute(update(VectorStoreRow).where(VectorStoreRow.id == store_id).values(last_active_at=now))


def expired_stores(session: Session, now: int) -> Sequence[VectorStoreRow]:
    """Give the stores of all projects whose time is over."""
    limited = session.scalars(select(VectorStoreRow).where(VectorStoreRow.expires_after_days.is_not(None)))
    return [store for store in limited if is_expired(store, now)]


def is_made_with(made_with: str, embedder: Embedder) -> bool:
    """Tell whether a store was made with this embedder, named as in the settings."""
    # The settings may give a hub id or a directory: its last part is the embedder's name.
    return Path(made_with).resolve().name == embedder.name


def mismatch(made_with: str, embedder: Embedder) -> EmbedderMismatch:
    return EmbedderMismatch(
        f"The vector store was made with the embedder {made_with!r}, not {embedder.name!r}.",
        hint="Set LOAM_EMBEDDER to that one, or give the store this one: loam stores update NAME --embedder ID.",
    )
