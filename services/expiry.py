"""Removing what is over its time: files, uploads that were never completed, the documents of expired stores.

None of it can be had through the API from the moment it expires; this gives the room back, and
takes expired files out of the stores that they are in.
"""

import time
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.documents import delete_document
from services.storage.files import delete_file, expired_files, let_go
from services.storage.store_files import documents_in
from services.storage.tables import DocumentRow
from services.storage.uploads import UploadStatus, expired_uploads, remove_parts
from services.storage.vector_stores import expired_stores

GROUP_DOCUMENTS = 64


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
    let_go(database, blobs, unused)
    while _remove_documents(database) == GROUP_DOCUMENTS:
        pass


def _anything(session: Session) -> bool:
    return bool(expired_files(session) or expired_uploads(session) or _expired_documents(session, limit=1))


def _remove_documents(database: Database) -> int:
    """Remove some documents of expired stores, not all at once: others want to write meanwhile."""
    with database.write() as session:
        documents = _expired_documents(session, limit=GROUP_DOCUMENTS)
        for document in documents:
            delete_document(session, document)
    return len(documents)


def _expired_documents(session: Session, *, limit: int) -> Sequence[DocumentRow]:
    return documents_in(session, expired_stores(session, int(time.time())), limit=limit)
