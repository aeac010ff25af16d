import shutil
from pathlib import Path

import pytest

from services.folder_sync import FolderWatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    return folder


@pytest.fixture
def watch(folder: Path) -> FolderWatch:
    return FolderWatch([folder])


def after_two_looks(watch: FolderWatch) -> tuple[list[str], bool]:
    """Look twice, as a change needs, and give the names of what changed and whether something has gone."""
    first, second = watch.changes(), watch.changes()
    assert not first
    return [file.name for file in second.files], second.gone


def test_nothing_has_changed(watch: FolderWatch) -> None:
    assert after_two_looks(watch) == ([], False)


def test_a_new_and_a_changed_file_are_given_once(folder: Path, watch: FolderWatch) -> None:
    (folder / "new.txt").write_text("new")
    (folder / "sub" / "b.txt").write_text("other")
    assert after_two_looks(watch) == (["new.txt", "sub/b.txt"], False)
    assert after_two_looks(watch) == ([], False)


def test_a_file_that_is_being_written_is_given_when_it_stays_as_it_is(folder: Path, watch: FolderWatch) -> None:
    for text in ("n", "ne", "new"):
        (folder / "new.txt").write_text(text)
        assert not watch.changes()
    assert [file.name for file in watch.changes().files] == ["new.txt"]


def test_a_deleted_file_has_gone_once(folder: Path, watch: FolderWatch) -> None:
    (folder / "a.txt").unlink()
    assert after_two_looks(watch) == ([], True)
    assert after_two_looks(watch) == ([], False)


def test_a_file_that_is_replaced_has_not_gone(folder: Path, watch: FolderWatch) -> None:
    (folder / "a.txt").unlink()
    assert not watch.changes()
    (folder / "a.txt").write_text("again")
    assert not watch.changes()
    assert [file.name for file in watch.changes().files] == ["a.txt"]


def test_a_renamed_file_is_new_and_has_gone(folder: Path, watch: FolderWatch) -> None:
    (folder / "a.txt").rename(folder / "z.txt")
    assert after_two_looks(watch) == (["z.txt"], True)


def test_a_folder_that_is_away_keeps_what_it_had(folder: Path, watch: FolderWatch) -> None:
    away = folder.with_name("away")
    shutil.move(folder, away)
    assert after_two_looks(watch) == ([], False)
    shutil.move(away, folder)
    assert after_two_looks(watch) == ([], False)
