"""A store that follows folders: which files have changed since the last look, and whose files are gone.

Folders are looked at again and again rather than listened to: that is the same on every file system, network mounts
and containers included, and nothing is lost while nobody listens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.folders import FoundFile, absolute, printable, walk
from services.ingestion import Ingestion
from services.storage.blobs import Blobs
from services.storage.database import Database
from services.storage.documents import delete_document
from services.storage.files import let_go
from services.storage.tables import DocumentRow, FileRow

Stamp: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is other than it was: files to read, and whether some have gone."""

    files: tuple[FoundFile, ...] = ()
    gone: bool = False

    def __bool__(self) -> bool:
        return bool(self.files) or self.gone


class FolderWatch:
    """Looks at paths from time to time. A change counts once it has stayed the same for two looks.

    So a file that is being written is read when it is whole, and one that an editor replaces is never gone.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take what there is now for known."""
        self._paths = paths
        self._last: dict[Path, tuple[FoundFile, Stamp]] = {}
        self._known = self._last = self._look()

    def changes(self) -> Changes:
        """Look again, and give what has changed; each change is given once."""
        now, last, known = self._look(), self._last, self._known
        settled = {path: found for path, found in now.items() if path in last and last[path][1] == found[1]}
        changed = tuple(file for path, (file, stamp) in settled.items() if path not in known or known[path][1] != stamp)
        gone = known.keys() - now.keys() - last.keys()
        self._known = {path: found for path, found in known.items() if path not in gone} | settled
        self._last = now
        return Changes(files=changed, gone=bool(gone))

    def _look(self) -> dict[Path, tuple[FoundFile, Stamp]]:
        there = [path for path in self._paths if path.exists()]
        missing = [absolute(path) for path in self._paths if path not in there]
        # A folder that is away as a whole is not mounted, rather than emptied.
        away = {path: found for path, found in self._last.items() if any(map(path.is_relative_to, missing))}
        return away | {file.path: (file, _stamp(file)) for file in walk(there)}


def _stamp(file: FoundFile) -> Stamp:
    try:
        stat = file.path.stat()
    except OSError:
        return (file.problem,)
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, file.problem


def remove_gone(
    database: Database, blobs: Blobs, ingestion: Ingestion, store_id: str, paths: Sequence[Path]
) -> list[str]:
    """Remove the documents of files that are no more in the folders among `paths`; give their names.

    Only what was ingested from those folders is touched. What cannot be looked at, a folder without permission or one
    that is not there itself, keeps its documents.
    """
    folders = [absolute(path) for path in paths if path.is_dir()]
    there = list(walk(folders))
    sources = {printable(file.path) for file in there}
    closed = [file.path for file in there if file.problem and file.path.is_dir()]
    with database.write() as session:
        gone = [
            document
            for folder in folders
            for document in _below(session, store_id, folder)
            if document.source not in sources and not _is_there(Path(document.source), closed)
        ]
        names = [document.filename for document in gone]
        ingestion.cancel(session, gone)
        unnamed = [_remove(session, document) for document in gone]
    let_go(database, blobs, [sha256 for sha256 in unnamed if sha256])
    return names


def _below(session: Session, store_id: str, folder: Path) -> list[DocumentRow]:
    start = f"{printable(folder).rstrip('/')}/"
    mine = select(DocumentRow).where(
        DocumentRow.store_id == store_id, DocumentRow.source.startswith(start, autoescape=True)
    )
    # LIKE does not tell upper from lower case.
    return [row for row in session.scalars(mine.order_by(DocumentRow.seq)) if row.source.startswith(start)]


def _is_there(path: Path, closed: Sequence[Path]) -> bool:
    """Tell whether a file is there although it was not found: it is hidden, say, and was ingested by its name."""
    return any(path.is_relative_to(folder) for folder in closed) or path.exists()


def _remove(session: Session, document: DocumentRow) -> str:
    """Remove a document, and its file unless another store has that too; give the bytes to let go of."""
    file_id = document.file_id
    delete_document(session, document)
    file = session.scalars(select(FileRow).where(FileRow.id == file_id)).one()
    if session.scalar(select(DocumentRow.seq).where(DocumentRow.file_id == file_id).limit(1)) is not None:
        return ""
    session.delete(file)
    return file.sha256
