"""Removes what a kill or a deletion in another process has left behind; nothing that is in use."""

import time
from functools import partial

from sqlalchemy import delete, select

from services.indexes import Indexes
from services.jobs.job import LIVE
from services.storage.blobs import Blobs, discard_unused
from services.storage.database import Database
from services.storage.tables import GenerationRow, JobRow, VectorStoreRow

DAY_S = 86_400
JOBS_KEPT_S = 7 * DAY_S


def tidy(database: Database, blobs: Blobs, indexes: Indexes) -> None:
    """Remove blobs that nothing names, indexes of stores that are no more, and the records of old jobs.

    What is younger than a day stays: somebody may be about to name it.
    """
    now = time.time()
    blobs.discard_partial(before=now - DAY_S)
    discard_unused(database, blobs, blobs.all(before=now - DAY_S))
    indexes.tidy(partial(_wanted, database), before=now - DAY_S)
    with database.write() as session:
        session.execute(delete(JobRow).where(JobRow.state.not_in(LIVE), JobRow.finished_at < now - JOBS_KEPT_S))


def _wanted(database: Database) -> dict[str, set[int]]:
    """Give the generations that there are, by their stores."""
    with database.read() as session:
        wanted: dict[str, set[int]] = {store_id: set() for store_id in session.scalars(select(VectorStoreRow.id))}
        for store_id, generation_id in session.execute(select(GenerationRow.store_id, GenerationRow.id)):
            wanted[store_id].add(generation_id)
    return wanted
