"""What recognises text in pictures on this machine: Tesseract's data, found by itself.

The recogniser is built into the parser and needs the trained data alone, which comes with the package
`tesseract-ocr` (English, and what tells how a page lies) and `tesseract-ocr-LANGUAGE`. It is looked for
each time: a package that is installed meanwhile is used at once.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MAX_LANGUAGES = 5
"""Each language makes recognition slower, and with many of them worse. English is first, then by name."""

ORIENTATION = "osd"
_NO_LANGUAGES = frozenset({ORIENTATION, "equ", "snum"})
_FOLDERS = (
    "/usr/share/tesseract-ocr/*/tessdata",  # Debian, Ubuntu
    "/usr/share/tessdata",  # Fedora, Arch, Alpine
    "/usr/share/tesseract/tessdata",
    "/usr/local/share/tessdata",
    "/opt/homebrew/share/tessdata",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """Where the trained data are, the languages in Tesseract's notation, and whether pages are turned upright."""

    folder: str
    languages: str
    turns: bool


def find_recognition() -> Recognition | None:
    """Give what recognises text in pictures; None where there is no trained data for any language."""
    return next((found for folder in _folders() if (found := _in_folder(folder))), None)


def _folders() -> Iterator[Path]:
    # Tesseract's own variable; its older versions meant the folder above.
    if named := os.environ.get("TESSDATA_PREFIX"):
        yield from (Path(named), Path(named, "tessdata"))
    for pattern in _FOLDERS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    if tesseract := shutil.which("tesseract"):
        yield from _told_by(tesseract)


def _in_folder(folder: Path) -> Recognition | None:
    try:
        names = {path.stem for path in folder.glob("*.traineddata")}
    except OSError:
        return None
    languages = sorted(names - _NO_LANGUAGES, key=lambda name: (name != "eng", name))[:MAX_LANGUAGES]
    if not languages:
        return None
    return Recognition(folder=str(folder), languages="+".join(languages), turns=ORIENTATION in names)


@cache
def _told_by(tesseract: str) -> tuple[Path, ...]:
    """Ask a Tesseract that is installed elsewhere for its folder: the first line of its list of languages has it."""
    listed = subprocess.run([tesseract, "--list-langs"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r'"(.+)"', listed.stdout.partition("\n")[0])
    return (Path(found[1]),) if found else ()
