"""Removes what a kill or a deletion in another process has left behind; nothing that is in use."""

import logging
import shutil
import time
from pathlib import Path

from sqlalchemy import delete, select

from services.jobs.job import LIVE
from services.storage.blobs import Blobs, discard_unused
from services.storage.database import Database
from services.storage.tables import GenerationRow, JobRow, VectorStoreRow

DAY_S = 86_400
JOBS_KEPT_S = 7 * DAY_S

log = logging.getLogger(__name__)


def tidy(database: Database, blobs: Blobs, indexes: Path) -> None:
    """Remove blobs that nothing names, indexes of stores that are no more, and the records of old jobs.

    What is younger than a day stays: somebody may be about to name it.
    """
    now = time.time()
    blobs.discard_partial(before=now - DAY_S)
    discard_unused(database, blobs, blobs.all(before=now - DAY_S))
    _remove_indexes(database, indexes, before=now - DAY_S)
    with database.write() as session:
        session.execute(delete(JobRow).where(JobRow.state.not_in(LIVE), JobRow.finished_at < now - JOBS_KEPT_S))


def _remove_indexes(database: Database, indexes: Path, *, before: float) -> None:
    """Remove what is neither a store's folder nor, in one, a generation's."""
    folders = [path for path in (*indexes.glob("*"), *indexes.glob("*/*")) if path.stat().st_mtime < before]
    with database.read() as session:
        wanted = {indexes / store_id for store_id in session.scalars(select(VectorStoreRow.id))}
        rows = session.execute(select(GenerationRow.store_id, GenerationRow.id))
        wanted |= {indexes / store_id / str(generation_id) for store_id, generation_id in rows}
    for folder in folders:
        if folder not in wanted and folder.parent in {indexes, *wanted}:
            log.info("index_removed path=%s", folder.relative_to(indexes))
            shutil.rmtree(folder, ignore_errors=True)
