import io
import zipfile

import pytest

from rag.errors import InvalidFile, UnsupportedFile
from rag.parse.formats import PDF, Reading, binary_format, text_format


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_content_decides_before_the_name() -> None:
    assert binary_format(b"%PDF-1.7 ...", "report.docx") == PDF


def test_a_word_file_under_an_old_name_is_read_as_what_it_is() -> None:
    form = binary_format(zipped(**{"[Content_Types].xml": "<x/>", "word/document.xml": "<x/>"}), "old.doc")
    assert form is not None and form.media_type.endswith("wordprocessingml.document")


def test_slides_are_read_by_page() -> None:
    form = binary_format(zipped(**{"[Content_Types].xml": "<x/>", "ppt/presentation.xml": "<x/>"}), "a.pptx")
    assert form is not None and form.reading is Reading.PAGES and form.titled


def test_an_open_document_is_told_by_its_mimetype() -> None:
    form = binary_format(zipped(mimetype="application/vnd.oasis.opendocument.text"), "a.odt")
    assert form is not None and form.media_type == "application/vnd.oasis.opendocument.text"


def test_a_document_without_a_reader_is_named() -> None:
    with pytest.raises(UnsupportedFile, match=r"opendocument\.presentation"):
        binary_format(zipped(mimetype="application/vnd.oasis.opendocument.presentation"), "a.odp")


@pytest.mark.parametrize("content", [zipped(**{"hello.txt": "x"}), b"\x1f\x8b\x08rest", b"7z\xbc\xaf\x27\x1crest"])
def test_archives_are_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(UnsupportedFile, match="Unpack it"):
        binary_format(content, "a.docx")


def test_an_encrypted_office_file_is_called_encrypted() -> None:
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "EncryptedPackage".encode("utf-16-le")
    with pytest.raises(InvalidFile, match="is encrypted"):
        binary_format(content, "a.xlsx")


def test_a_truncated_office_file_is_called_damaged() -> None:
    content = zipped(**{"[Content_Types].xml": "<x/>", "word/document.xml": "<x/>" * 99})
    with pytest.raises(InvalidFile, match="damaged"):
        binary_format(content[: len(content) // 2], "a.docx")


def test_text_has_no_binary_format() -> None:
    assert binary_format(b"words", "a.txt") is None


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("README.md", "text/markdown"),
        ("a.CSV", "text/csv"),
        ("main.rs", "text/plain"),
        ("noext", "text/plain"),
        ("a.html", "text/html"),
        ("a.xml", "application/xml"),
    ],
)
def test_text_is_told_by_its_name(name: str, media_type: str) -> None:
    assert text_format("words", name).media_type == media_type


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_html_is_told_by_its_content_where_the_name_does_not_say(name: str) -> None:
    assert text_format("\n<!DOCTYPE html><p>x</p>", name).media_type == "text/html"


def test_html_source_in_a_text_file_stays_text() -> None:
    assert text_format("<html><p>x</p>", "snippet.txt").reading is Reading.OWN


def test_plain_text_under_a_binary_name_is_refused() -> None:
    with pytest.raises(InvalidFile, match=r"named \.pdf but holds plain text"):
        text_format("version 1", "a.pdf")
