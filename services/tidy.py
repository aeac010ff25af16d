"""Removes what a kill or a deletion in another process has left behind; nothing that is in use."""

import logging
import shutil
import time
from pathlib import Path

from sqlalchemy import delete, select

from services.jobs.job import LIVE
from services.storage.blobs import Blobs, discard_unused
from services.storage.database import Database
from services.storage.tables import JobRow, VectorStoreRow

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
    folders = [path for path in indexes.glob("*") if path.stat().st_mtime < before]
    with database.read() as session:
        stores = set(session.scalars(select(VectorStoreRow.id)))
    for folder in folders:
        if folder.name not in stores:
            log.info("index_removed store_id=%s", folder.name)
            shutil.rmtree(folder, ignore_errors=True)
