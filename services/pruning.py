"""Removing generations that are not kept: some documents at a time, since others want to write meanwhile."""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.indexes import Indexes
from services.storage.database import Database
from services.storage.documents import take_out
from services.storage.generations import removed_generations
from services.storage.tables import GenerationRow, IndexedDocumentRow
from services.storage.vectors import remove_unused_vectors

GROUP_DOCUMENTS = 64

log = logging.getLogger(__name__)


def prune(database: Database, indexes: Indexes) -> None:
    """Remove what is left of the generations that are to go. Whatever breaks it off, the next call goes on."""
    with database.read() as session:
        removed = removed_generations(session)
    for generation in removed:
        while _remove_some(database, generation):
            pass
        indexes.remove(generation)
        log.info("generation_removed store_id=%s generation=%d", generation.store_id, generation.id)


def _remove_some(database: Database, generation: GenerationRow) -> bool:
    """Take some documents out or, where there are none left, remove the generation itself."""
    with database.write() as session:
        seqs = _some(session, generation.id)
        keys = {key for seq in seqs for key in take_out(session, generation.id, seq)}
        remove_unused_vectors(session, generation.project_id, keys)
        if not seqs and (row := session.get(GenerationRow, generation.id)) is not None:
            session.delete(row)
    return bool(seqs)


def _some(session: Session, generation_id: int) -> list[int]:
    mine = select(IndexedDocumentRow.document_seq).where(IndexedDocumentRow.generation_id == generation_id)
    return list(session.scalars(mine.limit(GROUP_DOCUMENTS)))
