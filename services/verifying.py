"""Whether a store's index is whole, and what mends it: the documents' texts are the truth, all else follows."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from rag import verify
from rag.index import StoreIndex
from rag.ports import ChunkSource, Embedder
from services.search import index_folder
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


def check_index(index: StoreIndex, source: ChunkSource) -> Iterator[Problem]:
    """Hold an index, after a sync, against its generation."""
    for says in verify.check_index(index, source):
        yield Problem(says=says, of_index=True)


def check_files(indexes: Path, generation: GenerationRow, embedder: Embedder, source: ChunkSource) -> Iterator[Problem]:
    """Hold the index on the disk against its generation, on a copy: nothing is mended by being looked at."""
    folder = index_folder(indexes, generation)
    for path in verify.damaged_text_files(folder):
        yield Problem(says=f"{path.relative_to(indexes)}: the file is damaged", of_index=True)
    with _copied(folder, indexes) as copy:
        index = StoreIndex(copy, embedder_id=embedder.id, dimensions=embedder.dimensions)
        index.sync(source)
        for says in (*index.mended, *verify.check_index(index, source)):
            # Of the copy only its messages know.
            yield Problem(says=says.replace(str(copy), str(folder)), of_index=True)


def check_store(database: Database, indexes: Path, generation: GenerationRow, embedder: Embedder) -> Iterator[Problem]:
    """Give all that differs in a store's live generation and its index, and vectors that nothing uses."""
    with database.read() as session:
        for fault in database_faults(session):
            yield Problem(says=f"database: {fault}: bring back a backup", mendable=False)
    yield from check_missing(database, generation)
    yield from check_documents(database, generation, embedder)
    try:
        yield from check_files(indexes, generation, embedder, SqlChunkSource(database, generation))
    except GenerationGone:
        log.info("generation_gone_while_verified generation=%d", generation.id)
    with database.read() as session:
        if count := sum(map(len, unused_vectors(session).values())):
            yield Problem(says=f"{count} vectors are used by nothing", unused=True)


def _check_document(stored: StoredDocument, embedder: Embedder) -> Iterator[Problem]:
    if stored.text is None:
        yield Problem(says=f"{stored.filename}: its text is missing", document_seq=stored.seq, reread=True)
        return
    reread = verify.text_is_at_fault(stored.text, stored.chunks, embedder_id=embedder.id)
    if reread:
        yield Problem(says=f"{stored.filename}: its text is damaged", document_seq=stored.seq, reread=True)
        return
    wrong = verify.check_chunks(stored.text, stored.chunks, embedder_id=embedder.id, dimensions=embedder.dimensions)
    for chunk_id, says in wrong:
        place = stored.filename if chunk_id is None else f"{stored.filename}, chunk {chunk_id}"
        yield Problem(says=f"{place}: {says}", document_seq=stored.seq)


@contextmanager
def _copied(folder: Path, indexes: Path) -> Iterator[Path]:
    """Give a copy of an index's folder, taken while nobody writes to it; removed afterwards."""
    indexes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=indexes, prefix="verify-", ignore_cleanup_errors=True) as made:
        copy = Path(made) / "copy"
        for kind in folder.glob("index-*"):
            with FileLock(kind / "lock"):
                shutil.copytree(kind, copy / kind.name, ignore=shutil.ignore_patterns("lock", ".tantivy-*.lock"))
        copy.mkdir(exist_ok=True)
        yield copy


def documents_of(problems: Iterable[Problem], *, reread: bool) -> list[int]:
    """Give the documents that are to be put in anew, or those whose files are to be read anew."""
    found = {one.document_seq for one in problems if one.document_seq is not None and one.reread}
    if reread:
        return sorted(found)
    return sorted({one.document_seq for one in problems if one.document_seq is not None} - found)
