"""Removing what is over its time: files, uploads that were never completed, the documents of expired stores.

None of it can be had through the API from the moment it expires; this gives the room back, and
takes expired files out of the stores that they are in.
"""

import logging
import threading
import time

from sqlalchemy.orm import Session

from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.documents import delete_document
from services.storage.files import delete_file, expired_files, let_go
from services.storage.store_files import documents_in
from services.storage.uploads import UploadStatus, expired_uploads, remove_parts
from services.storage.vector_stores import expired_stores

SWEEP_S = 30.0

log = logging.getLogger(__name__)


def sweep(database: Database, blobs: Blobs) -> None:
    """Remove what has expired by now."""
    with database.read() as session:
        if not _anything(session):
            return
    unused: list[str] = []
    with database.write() as session:
        for file in expired_files(session):
            unused.append(file.sha256)
            delete_file(session, file)
        for upload in expired_uploads(session):
            unused.extend(remove_parts(session, upload))
            upload.status = UploadStatus.EXPIRED
        for document in documents_in(session, expired_stores(session, int(time.time()))):
            delete_document(session, document)
    let_go(database, blobs, unused)


def sweep_until(stop: threading.Event, database: Database, blobs: Blobs) -> None:
    """Sweep now and then until `stop` is set."""
    while not stop.wait(SWEEP_S):
        try:
            sweep(database, blobs)
        except Exception:
            # Such as a full disk: it may pass.
            log.exception("sweep_failed")


def _anything(session: Session) -> bool:
    if expired_files(session) or expired_uploads(session):
        return True
    return bool(documents_in(session, expired_stores(session, int(time.time()))))
