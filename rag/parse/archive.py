"""The zip containers that office formats are: what they hold, and what they would expand to.

Both are answered without unpacking anything to disk, and before a parser sees the file.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from rag.errors import FileTooLarge, InvalidFile
from rag.parse.limits import MIB, ParseLimits
from rag.parse.refusals import encrypted

_LOCAL_HEADER_BYTES = 30
_NESTED_DEPTH = 2
_ZIP_SUFFIXES = (".zip", ".docx", ".xlsx", ".xlsm", ".pptx", ".odt", ".ods", ".odp", ".epub")
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, RuntimeError, ValueError),
)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_MAIN_PARTS = {
    "word/": _OFFICE + "wordprocessingml.document",
    "ppt/": _OFFICE + "presentationml.presentation",
    "xl/": _OFFICE + "spreadsheetml.sheet",
}


def office_media_type(content: bytes, filename: str) -> str | None:
    """Tell which document format a zip is; None for one that is no document.

    Raises InvalidFile when the zip is broken or encrypted.
    """
    with _sound(filename), _open(content, filename) as archive:
        names = archive.namelist()
        if any(entry.flag_bits & 1 for entry in archive.infolist()) or _odf_encrypted(archive):
            raise encrypted(filename)
        if "mimetype" in names:
            return _head(archive, "mimetype", 128).decode("ascii", "replace").strip()
        if "[Content_Types].xml" in names:
            return next((kind for part, kind in _MAIN_PARTS.items() if any(n.startswith(part) for n in names)), None)
    return None


def check_expansion(content: bytes, filename: str, limits: ParseLimits) -> None:
    """Raise FileTooLarge when the zip, with the zips in it, expands to more than the limit."""
    with _sound(filename):
        _expand(content, filename, limits.expanded_bytes, _NESTED_DEPTH)


def _expand(content: bytes, filename: str, budget: int, depth: int) -> int:
    """Give what is left of `budget` bytes after all that the zip holds."""
    with _open(content, filename) as archive:
        entries = archive.infolist()
        # Declared sizes first: they are free to read, and overlapping entries show only there.
        if sum(entry.file_size for entry in entries) > budget:
            raise _bomb(filename)
        for entry in entries:
            budget -= _real_size(content, entry, filename, budget)
            if depth and entry.filename.lower().endswith(_ZIP_SUFFIXES):
                budget = _expand(archive.read(entry), filename, budget, depth - 1)
    return budget


def _real_size(content: bytes, entry: zipfile.ZipInfo, filename: str, budget: int) -> int:
    """Count what an entry really expands to: the declared size may lie."""
    size = 0
    for piece in _pieces(content, entry):
        size += len(piece)
        if size > budget:
            raise _bomb(filename)
    return size


def _pieces(content: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    raw = _raw(content, entry)
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        yield raw
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    while raw and not inflate.eof:
        yield inflate.decompress(raw, MIB)
        raw = inflate.unconsumed_tail


def _raw(content: bytes, entry: zipfile.ZipInfo) -> bytes:
    start = entry.header_offset
    name_bytes, extra_bytes = struct.unpack_from("<HH", content, start + 26)
    start += _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    return content[start : start + entry.compress_size]


def _odf_encrypted(archive: zipfile.ZipFile) -> bool:
    manifest = "META-INF/manifest.xml"
    return manifest in archive.namelist() and b"encryption-data" in _head(archive, manifest, MIB)


def _head(archive: zipfile.ZipFile, name: str, size_bytes: int) -> bytes:
    """Read the beginning of a part, which may claim to be any size."""
    with archive.open(name) as part:
        return part.read(size_bytes)


@contextmanager
def _sound(filename: str) -> Iterator[None]:
    """Give one name to all that the zip and its codecs raise over parts that are not as they are listed."""
    try:
        yield
    except _DAMAGES as exc:
        raise InvalidFile(f"{filename!r} is damaged: a part of it cannot be unpacked.", hint="Save it again.") from exc


def _open(content: bytes, filename: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as exc:
        raise InvalidFile(f"{filename!r} is damaged: it ends before its list of parts.", hint="Save it again.") from exc


def _bomb(filename: str) -> FileTooLarge:
    return FileTooLarge(f"{filename!r} expands to more than is allowed.", hint="Save it without its large parts.")
