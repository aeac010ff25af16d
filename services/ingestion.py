"""Putting files into vector stores: what is new or changed becomes a job, what is not stays as it is.

A document is known by (store, file id) over HTTP and by (store, absolute path) by CLI. Adding one
that is being ingested joins the live job; the bytes that came last are those that stay.
"""

import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import islice
from typing import Any, BinaryIO

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from rag.chunk import ChunkingStrategy
from rag.types import AttributeValue
from services.errors import BadRequest, NotFound
from services.folders import FoundFile, printable
from services.jobs import queue
from services.jobs.job import INGEST
from services.storage.attributes import write_attributes
from services.storage.blobs import Blob, Blobs
from services.storage.database import Database
from services.storage.documents import add_documents, fail_document, find_documents
from services.storage.files import add_files, find_files, let_go
from services.storage.store_files import find_store_files
from services.storage.tables import DocumentRow, FileRow, FileStatus
from services.storage.vector_stores import note_activity

# Files of a folder that are recorded in one transaction.
GROUP_FILES = 64
# So many at a time are kept: most of that is waiting until the disk has them.
KEPT_AT_ONCE = 8
READ_BYTES = 1024 * 1024
# In place of the sha256 of a file that was refused before its bytes were kept.
NOT_KEPT = ""
# What a file is for that came as a path, in OpenAI's words.
PURPOSE = "assistants"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """An uploaded file that is to be in a store; attributes that are None stay as they are."""

    file_id: str
    attributes: Mapping[str, AttributeValue] | None = None
    chunking: ChunkingStrategy | None = None


class Outcome(Enum):
    QUEUED = "queued"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of a path: the job to wait for, or the reason why there is none."""

    file: FoundFile
    file_id: str
    outcome: Outcome
    job_id: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A file of this machine, and its bytes or why there are none."""

    file: FoundFile
    blob: Blob | None
    problem: str | None = None

    @property
    def source(self) -> str:
        return printable(self.file.path)

    @property
    def named(self) -> Blob:
        return self.blob or Blob(sha256=NOT_KEPT, size_bytes=0)


class _Unreadable(Exception):
    """Why a path cannot be ingested."""


class Ingestion:
    """Adds files to stores. `bell` is rung when there is a new job, for a worker of this process."""

    def __init__(self, database: Database, blobs: Blobs, *, max_file_bytes: int) -> None:
        self._database = database
        self._blobs = blobs
        self._max_file_bytes = max_file_bytes
        self.bell = threading.Event()

    def add_files(
        self,
        session: Session,
        project_id: str,
        store_id: str,
        wanted: Sequence[WantedFile],
        *,
        batch_id: str | None = None,
    ) -> list[DocumentRow]:
        """Add uploaded files to a store, all in the caller's transaction; one that failed is ingested again.

        Takes a few statements however many files there are: nobody else can write meanwhile. Raises
        NotFound, and BadRequest for a file whose bytes were not kept.
        """
        files = _require_files(session, project_id, [one.file_id for one in wanted])
        # Not by their source: a file may have come into the store as a path.
        documents = find_store_files(session, store_id, files)
        new = {file_id: file for file_id, file in files.items() if file_id not in documents}
        documents |= {document.file_id: document for document in add_documents(session, store_id, new)}
        given = [(documents[one.file_id], one.attributes) for one in wanted if one.attributes is not None]
        write_attributes(session, given)
        stale = []
        for one in wanted:
            document, file = documents[one.file_id], files[one.file_id]
            document.batch_id = batch_id or document.batch_id
            if not _is_current(document, file.sha256, file.filename, one.chunking):
                _begin(document, file.filename, one.chunking)
                stale.append(document)
        self._enqueue(session, project_id, stale)
        note_activity(session, store_id, int(time.time()))
        return [documents[one.file_id] for one in wanted]

    def add_paths(
        self,
        project_id: str,
        store_id: str,
        files: Iterable[FoundFile],
        *,
        chunking: ChunkingStrategy | None = None,
        owner: str | None = None,
    ) -> Iterator[Added]:
        """Add files of this machine to a store, a group a transaction; `owner` alone does the jobs while it lives."""
        remaining = iter(files)
        while group := list(islice(remaining, GROUP_FILES)):
            hashes = self._current_hashes(store_id, group)
            known = [hashes.get(printable(file.path)) for file in group]
            with ThreadPoolExecutor(KEPT_AT_ONCE, thread_name_prefix="keep") as threads:
                kept = list(threads.map(self._keep, group, known))
            unnamed: set[str] = set()
            with self._database.write() as session:
                added = self._add_kept(session, project_id, store_id, kept, chunking, owner, unnamed)
                note_activity(session, store_id, int(time.time()))
            let_go(self._database, self._blobs, unnamed)
            yield from added

    def read_again(self, session: Session, documents: Sequence[DocumentRow]) -> list[str]:
        """Have documents of one project ingested anew from the bytes that are kept; give the jobs."""
        for document in documents:
            document.status = FileStatus.IN_PROGRESS
        return list(self._enqueue(session, documents[0].project_id, documents).values()) if documents else []

    def cancel(self, session: Session, documents: Iterable[DocumentRow]) -> None:
        """Stop documents' ingestion; from here on nothing of it is written. What has ended stays as it is."""
        live = [document for document in documents if document.status == FileStatus.IN_PROGRESS]
        queue.cancel(session, INGEST, [str(document.seq) for document in live])
        for document in live:
            document.status = FileStatus.CANCELLED

    def _enqueue(
        self, session: Session, project_id: str, documents: Collection[DocumentRow], owner: str | None = None
    ) -> dict[str, str]:
        """Give the ids of the documents' jobs, by their `seq`."""
        event.listen(session, "after_commit", lambda _session: self.bell.set(), once=True)
        return queue.enqueue(session, project_id, INGEST, [str(document.seq) for document in documents], owner=owner)

    def _current_hashes(self, store_id: str, files: Iterable[FoundFile]) -> dict[str, str]:
        """The hashes of the bytes that are searchable now, by source."""
        sources = [printable(file.path) for file in files]
        done = select(DocumentRow.source, DocumentRow.chunked_sha256).where(
            DocumentRow.store_id == store_id,
            DocumentRow.source.in_(sources),
            DocumentRow.status == FileStatus.COMPLETED,
            DocumentRow.chunked_sha256.is_not(None),
        )
        with self._database.read() as session:
            return {source: sha256 or "" for source, sha256 in session.execute(done)}

    def _keep(self, file: FoundFile, current_sha256: str | None) -> _Kept:
        """Keep a file's bytes; those that are searchable already are only compared."""
        try:
            if file.problem:
                raise _Unreadable(file.problem)
            with file.path.open("rb") as opened:
                if current_sha256 and hashlib.file_digest(opened, "sha256").hexdigest() == current_sha256:
                    return _Kept(file=file, blob=Blob(sha256=current_sha256, size_bytes=opened.tell()))
                opened.seek(0)
                return _Kept(file=file, blob=self._blobs.put(self._parts(opened)))
        except OSError as exc:
            return _Kept(file=file, blob=None, problem=f"{file.name!r} cannot be read: {exc.strerror}.")
        except _Unreadable as exc:
            return _Kept(file=file, blob=None, problem=f"{file.name!r} {exc}.")

    def _parts(self, opened: BinaryIO) -> Iterator[bytes]:
        if os.fstat(opened.fileno()).st_size > self._max_file_bytes:
            raise _Unreadable(self._too_large)
        size_bytes = 0
        while part := opened.read(READ_BYTES):
            size_bytes += len(part)
            if size_bytes > self._max_file_bytes:  # It grew.
                raise _Unreadable(self._too_large)
            yield part

    @property
    def _too_large(self) -> str:
        return f"is over the limit of {self._max_file_bytes} bytes: split it, or raise LOAM_MAX_FILE_BYTES"

    def _add_kept(
        self,
        session: Session,
        project_id: str,
        store_id: str,
        kept: Sequence[_Kept],
        chunking: ChunkingStrategy | None,
        owner: str | None,
        unnamed: set[str],
    ) -> list[Added]:
        """Add files of which the bytes are kept; the names of those that stood for others before join `unnamed`."""
        # What was removed between being put and being named here, with the last other file of its bytes, is put again.
        kept = [self._keep(one.file, None) if self._has_gone(one.blob) else one for one in kept]
        documents = find_documents(session, store_id, [one.source for one in kept])
        new = {one.source: one for one in kept if one.source not in documents}
        files = add_files(session, project_id, [(one.file.name, one.named) for one in new.values()], purpose=PURPOSE)
        made = add_documents(session, store_id, dict(zip(new, files, strict=True)))
        documents |= {document.source: document for document in made}
        stale = []
        for one in kept:
            document = documents[one.source]
            if one.source not in new:
                if one.blob and _is_current(document, one.blob.sha256, one.file.name, chunking):
                    continue
                unnamed |= {_rename_bytes(session, document, one.file.name, one.named)} - {one.named.sha256}
            if one.problem:
                queue.cancel(session, INGEST, [str(document.seq)])
                fail_document(session, document.seq, "invalid_file", one.problem)
            else:
                _begin(document, one.file.name, chunking)
                stale.append(document)
        jobs = self._enqueue(session, project_id, stale, owner)
        return [_added(one, documents[one.source], jobs) for one in kept]

    def _has_gone(self, blob: Blob | None) -> bool:
        return blob is not None and not self._blobs.exists(blob.sha256)


def _added(kept: _Kept, document: DocumentRow, jobs: Mapping[str, str]) -> Added:
    job_id = jobs.get(str(document.seq))
    outcome = Outcome.FAILED if kept.problem else Outcome.QUEUED if job_id else Outcome.UNCHANGED
    return Added(file=kept.file, file_id=document.file_id, outcome=outcome, job_id=job_id, problem=kept.problem)


def _require_files(session: Session, project_id: str, file_ids: Sequence[str]) -> dict[str, FileRow]:
    files = find_files(session, project_id, file_ids)
    for file_id in file_ids:
        if file_id not in files:
            raise NotFound(f"No such File object: {file_id}", param="file_id")
        if files[file_id].sha256 == NOT_KEPT:
            name = files[file_id].filename
            raise BadRequest(f"The bytes of {name!r} were not kept: ingest it again.", param="file_id")
    return files


def _begin(document: DocumentRow, filename: str, chunking: ChunkingStrategy | None) -> None:
    """Note what a document's next version is to be made of."""
    document.filename = filename
    document.chunking = None if chunking is None else asdict(chunking)
    document.status = FileStatus.IN_PROGRESS
    document.error_code = document.error_message = None


def _rename_bytes(session: Session, document: DocumentRow, name: str, blob: Blob) -> str:
    """Let the document's file stand for other bytes; give the sha256 of those before."""
    file = session.scalars(select(FileRow).where(FileRow.id == document.file_id)).one()
    before = file.sha256
    file.filename, file.sha256, file.size_bytes = name, blob.sha256, blob.size_bytes
    return before


def _is_current(document: DocumentRow, sha256: str, filename: str, chunking: ChunkingStrategy | None) -> bool:
    """Tell whether what is searchable is of these bytes, so named and so cut."""
    return (
        document.status == FileStatus.COMPLETED
        and document.chunked_sha256 == sha256
        and document.filename == filename
        and _strategy(document.chunking) == chunking
    )


def _strategy(stored: Mapping[str, Any] | None) -> ChunkingStrategy | None:
    return None if stored is None else ChunkingStrategy(**stored)
