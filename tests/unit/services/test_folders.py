import os
from pathlib import Path

import pytest

from services.folders import walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a/z.md", "a/y.md", ".git/config", ".hidden", "sub/.env"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "docs"


def names(*paths: Path) -> list[str]:
    return [file.name for file in walk(paths)]


def problems(*paths: Path) -> dict[str, str | None]:
    return {file.name: file.problem for file in walk(paths)}


def test_files_of_a_folder_come_in_order_named_within_it(folder: Path) -> None:
    assert names(folder) == ["a/y.md", "a/z.md", "b.txt"]


def test_paths_are_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [file.path for file in walk([Path("b.txt")])] == [folder / "b.txt"]


def test_named_file_is_taken_though_hidden(folder: Path) -> None:
    assert names(folder / ".hidden") == [".hidden"]


def test_file_named_twice_comes_once(folder: Path) -> None:
    assert names(folder / "b.txt", folder) == ["b.txt", "a/y.md", "a/z.md"]


def test_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "round").symlink_to(folder)
    assert names(folder) == ["a/y.md", "a/z.md", "b.txt"]


def test_link_within_the_folder_is_a_file(folder: Path) -> None:
    (folder / "c.txt").symlink_to(folder / "b.txt")
    assert names(folder)[-1] == "c.txt"


def test_missing_file_and_broken_link_tell_why(folder: Path) -> None:
    (folder / "broken").symlink_to(folder / "gone")
    assert problems(folder / "broken")["broken"] == "is a link to something that is not there"
    assert problems(folder / "no.txt")["no.txt"] == "cannot be read: No such file or directory"


def test_what_is_no_regular_file_tells_so(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert problems(folder)["pipe"] == "is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_that_cannot_be_read_tells_why_and_the_rest_comes(folder: Path) -> None:
    (folder / "a").chmod(0)
    assert problems(folder) == {"a": "cannot be read: Permission denied", "b.txt": None}
    (folder / "a").chmod(0o700)


def test_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    Path(f"{tmp_path}/caf\udce9.txt").write_text("x", encoding="utf-8")
    assert names(tmp_path) == ["caf\\xe9.txt"]
