"""What a file is: by its content first, by its name only where the content does not say."""

import enum
from dataclasses import dataclass
from pathlib import PurePath

from rag.errors import InvalidFile, UnsupportedFile
from rag.parse.archive import office_media_type
from rag.parse.refusals import encrypted


class Reading(enum.Enum):
    """How a format becomes canonical text."""

    OWN = "its own decoded characters"
    PAGES = "extracted text, page by page"
    MARKDOWN = "extracted, headings and tables as Markdown"
    PLAIN = "extracted text"
    OCR = "recognised from an image"


@dataclass(frozen=True, slots=True)
class Format:
    """A media type and how it is read; `titled` when its pages may have titles."""

    media_type: str
    reading: Reading
    titled: bool = False


# Plain text: the headings that kreuzberg guesses from the layout are often ordinary lines, cost ten
# times the time, and its Markdown leaves out about a word in a hundred and gives wrong page bounds.
PDF = Format("application/pdf", Reading.PAGES)
HTML = Format("text/html", Reading.MARKDOWN)
XML = Format("application/xml", Reading.PLAIN)

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ZIPS = {
    form.media_type: form
    for form in (
        Format(_OFFICE + "presentationml.presentation", Reading.PAGES, titled=True),
        Format(_OFFICE + "wordprocessingml.document", Reading.MARKDOWN),
        Format(_OFFICE + "spreadsheetml.sheet", Reading.MARKDOWN),
        Format("application/vnd.oasis.opendocument.text", Reading.MARKDOWN),
        Format("application/vnd.oasis.opendocument.spreadsheet", Reading.MARKDOWN),
        Format("application/epub+zip", Reading.MARKDOWN),
    )
}

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"{\\rtf", Format("application/rtf", Reading.MARKDOWN)),
    (b"\x89PNG\r\n", Format("image/png", Reading.OCR)),
    (b"\xff\xd8\xff", Format("image/jpeg", Reading.OCR)),
    (b"GIF8", Format("image/gif", Reading.OCR)),
    (b"II*\x00", Format("image/tiff", Reading.OCR)),
    (b"MM\x00*", Format("image/tiff", Reading.OCR)),
)
_ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")

# Streams of an OLE container name its application; directory entries are UTF-16.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS: tuple[tuple[str, Format], ...] = (
    ("WordDocument", Format("application/msword", Reading.MARKDOWN)),
    ("PowerPoint Document", Format("application/vnd.ms-powerpoint", Reading.MARKDOWN)),
    ("Workbook", Format("application/vnd.ms-excel", Reading.MARKDOWN)),
    ("__substg1.0_", Format("application/vnd.ms-outlook", Reading.PLAIN)),
)

_TEXT_SUFFIXES: dict[str, Format] = {
    ".md": Format("text/markdown", Reading.OWN),
    ".markdown": Format("text/markdown", Reading.OWN),
    ".mdx": Format("text/markdown", Reading.OWN),
    ".csv": Format("text/csv", Reading.OWN),
    ".tsv": Format("text/tab-separated-values", Reading.OWN),
    ".json": Format("application/json", Reading.OWN),
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".xml": XML,
    ".eml": Format("message/rfc822", Reading.PLAIN),
    ".rst": Format("text/x-rst", Reading.MARKDOWN),
    ".org": Format("text/x-org", Reading.MARKDOWN),
    ".ipynb": Format("application/x-ipynb+json", Reading.MARKDOWN),
}
# A text under one of these names is a mistake that its owner wants to hear of.
_BINARY_SUFFIXES = (
    *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".xlsm", ".ppt", ".pptx", ".odt", ".ods", ".odp", ".epub"),
    *(".msg", ".rtf", ".zip", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp"),
)


def binary_format(content: bytes, filename: str) -> Format | None:
    """Tell a binary format by its signature; None when the content may be text.

    Raises UnsupportedFile for archives and formats without a reader, InvalidFile when encrypted.
    """
    if b"%PDF-" in content[:1024]:
        return PDF
    if content.startswith(b"PK\x03\x04"):
        return _zip_format(content, filename)
    if content.startswith(_OLE):
        return _ole_format(content, filename)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return Format("image/webp", Reading.OCR)
    if content.startswith(_ARCHIVES):
        raise _archive(filename)
    return next((form for magic, form in _MAGIC if content.startswith(magic)), None)


def text_format(text: str, filename: str) -> Format:
    """Tell what a decoded text is. Raises InvalidFile when its name promises a binary format."""
    suffix = PurePath(filename).suffix.lower()
    if suffix in _TEXT_SUFFIXES:
        return _TEXT_SUFFIXES[suffix]
    head = text.lstrip()[:1024].lower()
    markup = HTML if head.startswith(("<!doctype html", "<html")) else None
    if suffix in _BINARY_SUFFIXES:
        if markup is None:
            raise InvalidFile(
                f"{filename!r} is named {suffix} but holds plain text.", hint="Rename it if that is what it should be."
            )
        return markup
    return markup if markup and not suffix else Format("text/plain", Reading.OWN)


def _zip_format(content: bytes, filename: str) -> Format:
    media_type = office_media_type(content, filename)
    if media_type is None:
        raise _archive(filename)
    if media_type not in _ZIPS:
        raise UnsupportedFile(f"{filename!r} is {media_type}, which has no reader.", hint="Save it in another format.")
    return _ZIPS[media_type]


def _ole_format(content: bytes, filename: str) -> Format:
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise encrypted(filename)
    for stream, form in _OLE_STREAMS:
        if stream.encode("utf-16-le") in content:
            return form
    raise UnsupportedFile(f"{filename!r} is an OLE container of an unknown kind.", hint="Save it in another format.")


def _archive(filename: str) -> UnsupportedFile:
    return UnsupportedFile(f"{filename!r} is an archive, not a document.", hint="Unpack it and add the files in it.")
