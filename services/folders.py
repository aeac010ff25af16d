"""Which files a person means by naming a path: a file itself, or what a folder holds."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file to ingest: `path` is absolute and its identity, `name` what hits and citations call it.

    `problem` says why it cannot be read, where that is known already.
    """

    path: Path
    name: str
    problem: str | None = None


def walk(paths: Sequence[Path]) -> Iterator[FoundFile]:
    """Give the files of all paths, each once, those of a folder by name in a fixed order.

    In a folder, what is hidden (version control is) is left out, and links that lead out of it are
    not followed. A path that is named itself is taken whatever it is called.
    """
    seen: set[Path] = set()
    for path in paths:
        root = absolute(path)
        found = _in_folder(root, root) if root.is_dir() else iter([_file(root, root.name)])
        for file in found:
            if file.path not in seen:
                seen.add(file.path)
                yield file


def absolute(path: Path) -> Path:
    """Give a path from the root, not resolved: a link that is named keeps its own name and place."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def printable(name: str | Path) -> str:
    """Give a name of the file system as text; bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _in_folder(folder: Path, root: Path) -> Iterator[FoundFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as exc:
        yield FoundFile(path=folder, name=printable(_name(folder, root)), problem=_unreadable(exc))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(path, root)
        elif not entry.is_symlink() or not path.exists() or _stays_within(path, root):
            yield _file(path, _name(path, root))


def _stays_within(link: Path, root: Path) -> bool:
    """Tell whether a link leads to a file of the folder; one to a folder is never followed, it could lead round."""
    return link.is_file() and link.resolve().is_relative_to(root.resolve())


def _file(path: Path, name: str) -> FoundFile:
    return FoundFile(path=path, name=printable(name), problem=_problem(path))


def _problem(path: Path) -> str | None:
    try:
        if path.is_symlink() and not path.exists():
            return "is a link to something that is not there"
        path.stat()
    except OSError as exc:
        return _unreadable(exc)
    if not path.is_file():
        return "is not a regular file"
    return None if os.access(path, os.R_OK) else "cannot be read: Permission denied"


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
