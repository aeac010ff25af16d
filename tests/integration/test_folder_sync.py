"""What a deleted or renamed file leaves in a store, and whose documents it never touches."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.folder_sync import remove_gone
from services.folders import walk
from services.ingestion import WantedFile
from services.storage.files import all_files
from services.storage.overview import document_overviews
from services.storage.tables import DEFAULT_PROJECT
from services.storage.vector_stores import create_store
from services.wiring import Services


@pytest.fixture
def store(services: Services) -> str:
    return made(services, "docs")


@pytest.fixture
def folder(tmp_path: Path, services: Services, store: str) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "apples.txt").write_text("Apples grow on trees.")
    (folder / "sub" / "whales.txt").write_text("Whales swim in the sea.")
    ingest(services, store, folder)
    return folder


def made(services: Services, name: str) -> str:
    with services.database.write() as session:
        return create_store(session, DEFAULT_PROJECT, name=name, embedder=services.embedder.name).id


def ingest(services: Services, store: str, *paths: Path) -> None:
    added = services.ingestion.add_paths(DEFAULT_PROJECT, store, walk(paths))
    services.new_worker().run_until_idle([one.job_id for one in added if one.job_id is not None])


def prune(services: Services, store: str, *paths: Path) -> list[str]:
    return remove_gone(services.database, services.blobs, services.ingestion, store, paths)


def names(services: Services, store: str) -> list[str]:
    with services.database.read() as session:
        return sorted(document.filename for document in document_overviews(session, store))


def test_what_is_deleted_is_neither_found_nor_kept(services: Services, store: str, folder: Path) -> None:
    (folder / "sub" / "whales.txt").unlink()
    assert prune(services, store, folder) == ["sub/whales.txt"]
    assert names(services, store) == ["apples.txt"]
    found = services.searching.search(DEFAULT_PROJECT, [store], "Whales swim")
    assert [hit.passage.filename for hit in found] == ["apples.txt"]
    with services.database.read() as session:
        (kept,) = all_files(session, DEFAULT_PROJECT)
    assert list(services.blobs.all()) == [kept.sha256]


def test_what_is_there_stays(services: Services, store: str, folder: Path) -> None:
    assert prune(services, store, folder) == []
    assert names(services, store) == ["apples.txt", "sub/whales.txt"]


def test_only_what_came_from_the_folder_is_removed(
    services: Services, store: str, folder: Path, tmp_path: Path
) -> None:
    elsewhere, alike = tmp_path / "elsewhere", tmp_path / "docs2"
    for other in (elsewhere, alike):
        other.mkdir()
        (other / f"{other.name}.txt").write_text(other.name)
    ingest(services, store, elsewhere, alike)
    for other in (elsewhere, alike):
        (other / f"{other.name}.txt").unlink()
    (folder / "apples.txt").unlink()
    assert prune(services, store, folder) == ["apples.txt"]
    assert names(services, store) == ["docs2.txt", "elsewhere.txt", "sub/whales.txt"]


def test_other_stores_keep_their_documents(services: Services, store: str, folder: Path) -> None:
    other = made(services, "other")
    ingest(services, other, folder)
    (folder / "apples.txt").unlink()
    prune(services, store, folder)
    assert names(services, other) == ["apples.txt", "sub/whales.txt"]


def test_a_file_that_another_store_was_given_stays(services: Services, store: str, folder: Path) -> None:
    other = made(services, "other")
    with services.database.write() as session:
        file = next(one for one in all_files(session, DEFAULT_PROJECT) if one.filename == "apples.txt")
        services.ingestion.add_files(session, DEFAULT_PROJECT, other, [WantedFile(file_id=file.id)])
    (folder / "apples.txt").unlink()
    prune(services, store, folder)
    services.new_worker().run_until_idle()
    assert names(services, store) == ["sub/whales.txt"]
    assert names(services, other) == ["apples.txt"]


def test_a_hidden_file_that_was_named_stays(services: Services, store: str, folder: Path) -> None:
    hidden = folder / ".notes.txt"
    hidden.write_text("hidden")
    ingest(services, store, hidden)
    assert prune(services, store, folder) == []


def test_a_folder_that_is_not_there_keeps_its_documents(services: Services, store: str, folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    assert prune(services, store, folder) == []
    assert names(services, store) == ["apples.txt", "sub/whales.txt"]


@pytest.fixture
def closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A part of the folder that may not be looked into, whoever runs the test."""
    scan = os.scandir
    closed = folder / "sub"

    def refuse(path: object) -> object:
        if Path(str(path)) == closed:
            raise PermissionError(13, "Permission denied")
        return scan(path)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr("services.folders.os.scandir", refuse)
        yield closed


def test_what_cannot_be_looked_into_keeps_its_documents(
    services: Services, store: str, folder: Path, closed: Path
) -> None:
    (closed / "whales.txt").unlink()
    assert prune(services, store, folder) == []


def test_a_renamed_file_is_not_embedded_again(services: Services, store: str, folder: Path) -> None:
    seen = len(services.embedder.seen)  # type: ignore[attr-defined]
    (folder / "apples.txt").rename(folder / "fruit.txt")
    ingest(services, store, folder)
    assert prune(services, store, folder) == ["apples.txt"]
    assert names(services, store) == ["fruit.txt", "sub/whales.txt"]
    assert len(services.embedder.seen) == seen  # type: ignore[attr-defined]
