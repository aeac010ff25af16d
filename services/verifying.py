"""Whether a store's index is whole, and what mends it: the documents' texts are the truth, all else follows."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rag import verify
from rag.ports import ChunkSource, Embedder, SearchIndex
from services.indexes import Indexes
from services.storage.chunks import GenerationGone, SqlChunkSource
from services.storage.database import Database
from services.storage.generations import missing_documents
from services.storage.stored import (
    StoredDocument,
    database_faults,
    indexed_documents,
    read_stored,
    unused_vectors,
)
from services.storage.tables import DocumentRow, GenerationRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that differs. `document_seq` is the document to be put in anew, `reread` its file to be read anew."""

    says: str
    document_seq: int | None = None
    reread: bool = False
    of_index: bool = False
    unused: bool = False
    mendable: bool = True


def check_documents(
    database: Database,
    generation: GenerationRow,
    embedder: Embedder,
    *,
    since: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> Iterator[Problem]:
    """Hold the chunks, windows and vectors of a generation against its documents' texts.

    With `since` only documents with chunks above that id are looked at. `checkpoint` is called before each.
    """
    with database.read() as session:
        seqs = indexed_documents(session, generation, since=since)
    for seq in seqs:
        checkpoint()
        if (stored := read_stored(database, generation, seq)) is not None:
            yield from _check_document(stored, embedder)


def check_missing(database: Database, generation: GenerationRow) -> Iterator[Problem]:
    """Give the documents that have a text and are not in the generation."""
    with database.read() as session:
        for seq in missing_documents(session, generation):
            document = session.get_one(DocumentRow, seq)
            yield Problem(says=f"{document.filename}: it is not in generation {generation.id}", document_seq=seq)


def check_index(index: SearchIndex, source: ChunkSource) -> Iterator[Problem]:
    """Hold an index, after a sync, against its generation."""
    for says in verify.check_index(index, source):
        yield Problem(says=says, of_index=True)


def check_kept(
    indexes: Indexes, generation: GenerationRow, embedder: Embedder, source: ChunkSource
) -> Iterator[Problem]:
    """Hold what is kept of an index against its generation; nothing is mended by being looked at."""
    for says in indexes.faults(generation, embedder, source):
        yield Problem(says=says, of_index=True)


def check_store(
    database: Database, indexes: Indexes, generation: GenerationRow, embedder: Embedder
) -> Iterator[Problem]:
    """Give all that differs in a store's live generation and its index, and vectors that nothing uses."""
    with database.read() as session:
        for fault in database_faults(session):
            yield Problem(says=f"database: {fault}: bring back a backup", mendable=False)
    yield from check_missing(database, generation)
    yield from check_documents(database, generation, embedder)
    try:
        yield from check_kept(indexes, generation, embedder, SqlChunkSource(database, generation))
    except GenerationGone:
        log.info("generation_gone_while_verified generation=%d", generation.id)
    with database.read() as session:
        if count := sum(map(len, unused_vectors(session).values())):
            yield Problem(says=f"{count} vectors are used by nothing", unused=True)


def _check_document(stored: StoredDocument, embedder: Embedder) -> Iterator[Problem]:
    if stored.text is None:
        yield Problem(says=f"{stored.filename}: its text is missing", document_seq=stored.seq, reread=True)
        return
    written = {"media_type": stored.media_type, "embedder_id": embedder.id}
    reread = verify.text_is_at_fault(stored.text, stored.chunks, **written)
    if reread:
        yield Problem(says=f"{stored.filename}: its text is damaged", document_seq=stored.seq, reread=True)
        return
    wrong = verify.check_chunks(stored.text, stored.chunks, dimensions=embedder.dimensions, **written)
    for chunk_id, says in wrong:
        place = stored.filename if chunk_id is None else f"{stored.filename}, chunk {chunk_id}"
        yield Problem(says=f"{place}: {says}", document_seq=stored.seq)


def documents_of(problems: Iterable[Problem], *, reread: bool) -> list[int]:
    """Give the documents that are to be put in anew, or those whose files are to be read anew."""
    found = {one.document_seq for one in problems if one.document_seq is not None and one.reread}
    if reread:
        return sorted(found)
    return sorted({one.document_seq for one in problems if one.document_seq is not None} - found)
