import hashlib
from pathlib import Path

import pytest

from services.storage.blobs import Blobs, discard_unused
from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, FileRow

ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_bytes_come_back_under_their_sha256(blobs: Blobs) -> None:
    blob = blobs.put(b"abc")
    assert (blob.sha256, blob.size_bytes) == (ABC, 3)
    assert blobs.read(ABC) == b"abc"


def test_parts_are_one_blob(blobs: Blobs) -> None:
    assert blobs.put(iter([b"a", b"", b"bc"])).sha256 == ABC
    assert list(blobs.all()) == [ABC]


def test_same_content_is_kept_once(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put(b"abc")
    blobs.put(b"abc")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [ABC]


def test_broken_off_upload_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    def parts() -> object:
        yield b"a"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put(parts())  # type: ignore[arg-type]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_missing_blob_is_told_by_name(blobs: Blobs) -> None:
    blobs.delete(ABC)
    assert not blobs.exists(ABC)
    with pytest.raises(FileNotFoundError, match=ABC):
        blobs.read(ABC)


def test_only_blobs_that_nobody_names_are_discarded(database: Database, blobs: Blobs) -> None:
    kept, unused = blobs.put(b"kept").sha256, blobs.put(b"unused").sha256
    with database.write() as session:
        session.add(_file(kept))
    discard_unused(database, blobs, [kept, unused])
    assert list(blobs.all()) == [kept]


def _file(sha256: str) -> FileRow:
    return FileRow(
        id="file-1",
        project_id=DEFAULT_PROJECT,
        filename="a.txt",
        purpose="assistants",
        size_bytes=4,
        sha256=sha256,
        created_at=0,
    )
