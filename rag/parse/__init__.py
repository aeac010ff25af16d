"""From the bytes of a file to a Document.

The canonical text, which every offset and quote refers to, is for text formats the file's own
decoded characters, without the byte order mark and with line ends as they are; for the others it is
what the parser extracted, line ends as `\\n` and control characters left out.
"""

import html
import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from rag.errors import FileTooLarge, InvalidFile, UnsupportedFile
from rag.parse.archive import check_expansion
from rag.parse.extract import Extracted, close, extract
from rag.parse.formats import HTML, Format, Reading, binary_format, text_format
from rag.parse.headings import MAX_TITLE_CHARS, front_matter_title, markdown_headings, slide_headings
from rag.parse.limits import ParseLimits
from rag.parse.tessdata import find_recognition
from rag.parse.text import decode, has_mark
from rag.types import Document, Page

__all__ = ["ParseLimits", "close", "parse"]

_Read: TypeAlias = Callable[[bytes, Format], Extracted]

_MAIL = ("message/rfc822", "application/vnd.ms-outlook")
_DEFAULT_LIMITS = ParseLimits()
_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# None of these looks further than the next "<": tags that never end would take quadratic time.
_TITLE_START = re.compile(r"<title(?:\s[^<>]*)?>", re.IGNORECASE)
_TITLE_END = re.compile(r"</title\s*>", re.IGNORECASE)
# kreuzberg would give these back as text, the title even as a heading.
_HTML_NOISE = re.compile(r"<meta\b[^<>]*>|\bdata:[\w/+.-]+;base64,[\w+/=%]*", re.IGNORECASE)


def parse(
    content: bytes,
    filename: str,
    *,
    limits: ParseLimits = _DEFAULT_LIMITS,
    checkpoint: Callable[[], None] = lambda: None,
) -> Document:
    """Read a file. Raises UnsupportedFile, InvalidFile or FileTooLarge, which say why and what to do.

    `checkpoint` is called twice a second while a native parser works; what it raises ends that.
    """
    if not content:
        raise InvalidFile(f"{filename!r} is empty.")
    _check_size(filename, len(content), "bytes", limits.file_bytes)
    read = partial(extract, filename=filename, limits=limits, checkpoint=checkpoint)
    form = binary_format(content, filename)
    if form is None:
        document = _parse_text(content, filename, limits, read)
    else:
        document = _parse_binary(content, form, filename, limits, read)
    _check_size(filename, len(document.text), "characters", limits.text_chars)
    return document


def _check_size(filename: str, size: int, unit: str, limit: int) -> None:
    if size > limit:
        raise FileTooLarge(f"{filename!r} has {size} {unit}; the limit is {limit}.", hint="Split it into parts.")


def _parse_text(content: bytes, filename: str, limits: ParseLimits, read: _Read) -> Document:
    # No character takes more than four bytes: what is over this need not be decoded to be refused.
    _check_size(filename, len(content), "bytes of text", 4 * limits.text_chars)
    text = decode(content, filename)
    if not text.strip():
        raise InvalidFile(f"{filename!r} holds nothing but white space.")
    form = text_format(text, filename)
    if form.reading is Reading.OWN:
        return _own_text(text, form, filename)
    if form == HTML:
        return _parse_html(text, filename, read)
    # Mail and XML name their own encoding: only a byte order mark overrules it.
    source = text.encode() if has_mark(content) else content
    return _document(read(source, form), form, filename)


def _own_text(text: str, form: Format, filename: str) -> Document:
    if form.media_type != "text/markdown":
        return Document(name=filename, media_type=form.media_type, text=text)
    headings = markdown_headings(text)
    title = _short(front_matter_title(text) or (headings[0].title if headings else None))
    return Document(name=filename, media_type=form.media_type, text=text, title=title, headings=headings)


def _parse_html(text: str, filename: str, read: _Read) -> Document:
    title, body = _without_title(text)
    extracted = read(_HTML_NOISE.sub("", body).encode(), HTML)
    return _document(Extracted(pages=extracted.pages, title=title), HTML, filename)


def _without_title(text: str) -> tuple[str | None, str]:
    opening = _TITLE_START.search(text)
    closing = _TITLE_END.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return None, text
    title = " ".join(html.unescape(text[opening.end() : closing.start()]).split())
    return title, text[: opening.start()] + text[closing.end() :]


def _parse_binary(content: bytes, form: Format, filename: str, limits: ParseLimits, read: _Read) -> Document:
    if form.reading is Reading.OCR and find_recognition() is None:
        raise UnsupportedFile(f"{filename!r} is an image.", hint="Install tesseract-ocr to read text in images.")
    if content.startswith(b"PK"):
        check_expansion(content, filename, limits)
    return _document(read(content, form), form, filename)


def _document(extracted: Extracted, form: Format, filename: str) -> Document:
    pages: list[Page] = []
    parts: list[str] = []
    position = 0
    for number, raw in extracted.pages:
        part = _clean(raw)
        pages.append(Page(number=number, start=position, end=position + len(part)))
        parts.append(part)
        position += len(part) + 2
    text = "\n\n".join(parts)
    if not text.strip():
        raise _no_text(filename, form)
    if form.titled:
        headings = slide_headings(text, pages, extracted.slide_titles)
    else:
        headings = markdown_headings(text) if form.reading is Reading.MARKDOWN else ()
    return Document(
        name=filename,
        media_type=form.media_type,
        text=text,
        title=_short(extracted.title or (headings[0].title if headings else _subject(text, form))),
        pages=tuple(pages) if form.reading is Reading.PAGES or len(pages) > 1 else (),
        headings=headings,
    )


def _subject(text: str, form: Format) -> str | None:
    first, _, rest = text.partition("\n")[0].partition("Subject: ")
    return rest.strip() or None if form.media_type in _MAIL and not first else None


def _short(title: str | None) -> str | None:
    return title and title[:MAX_TITLE_CHARS]


def _clean(text: str) -> str:
    return _UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _no_text(filename: str, form: Format) -> InvalidFile:
    if form.reading not in (Reading.PAGES, Reading.OCR):
        return InvalidFile(f"{filename!r} holds no text.")
    if find_recognition() is not None:
        return InvalidFile(f"{filename!r} holds no text, and none is recognised in its pictures.")
    return InvalidFile(f"{filename!r} holds no text, only images.", hint="Install tesseract-ocr to read scanned pages.")
