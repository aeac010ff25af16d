"""Scanned pages through Tesseract: recognised where there is no text, upright, and on the page that they are."""

import logging

import pytest

from rag.chunk import ChunkingStrategy, chunk
from rag.errors import InvalidFile
from rag.parse import parse
from rag.parse.tessdata import find_recognition
from rag.types import Document
from tests.fakes.embedder import WordEmbedder
from tests.fakes.scanned import as_file, pdf, scan, without_recognition

WRITTEN = "Every employee has thirty days of leave a year,\nwhich the front desk notes down."
MORE = "Trains are booked by the front desk as well,\nat least one week before the journey."
# How a page lies is told by its letters; a line or two are too few.
LETTER = (
    "Dear colleagues,",
    "The quarterly meeting is held in Lisbon.",
    "Rooms are booked by the front desk.",
    "Breakfast begins at seven thirty.",
    "Travel is paid by the host.",
    "With kind regards, the organisers.",
)
SCANNED = ("The quarterly meeting is held in Lisbon.", "Travel is paid by the host.")

needs_tesseract = pytest.mark.skipif(find_recognition() is None, reason="needs the package tesseract-ocr")


def pages(document: Document) -> list[str]:
    return [document.text[page.start : page.end] for page in document.pages]


@needs_tesseract
def test_a_scan_among_pages_of_text_is_read_and_these_stay_exact() -> None:
    document = parse(pdf(WRITTEN, scan(*SCANNED), "", MORE), "mixed.pdf")
    assert [page.number for page in document.pages] == [1, 2, 3, 4]
    assert [pages(document)[place] for place in (0, 2, 3)] == [WRITTEN, "", MORE]
    assert [line for line in pages(document)[1].splitlines() if line] == list(SCANNED)


@needs_tesseract
def test_what_is_recognised_is_cited_on_its_page() -> None:
    document = parse(pdf(WRITTEN, scan(*SCANNED)), "mixed.pdf")
    pieces = list(chunk(document, WordEmbedder().tokenizer, ChunkingStrategy(max_tokens=100), max_window_tokens=100))
    (piece,) = [piece for piece in pieces if "Lisbon" in piece.text]
    assert piece.page == 2
    assert document.text[piece.start : piece.end] == piece.text


@needs_tesseract
@pytest.mark.parametrize("turned", [90, 180])
def test_a_scan_that_lies_otherwise_is_turned_upright(turned: int) -> None:
    recognition = find_recognition()
    if recognition is None or not recognition.turns:
        pytest.skip("needs the package tesseract-ocr-osd")
    for content, name in (
        (pdf(scan(*LETTER, turned=turned)), "turned.pdf"),
        (as_file(scan(*LETTER, turned=turned)), "turned.png"),
    ):
        assert "travel is paid by the host." in parse(content, name).text.lower()


@needs_tesseract
def test_each_page_of_a_tiff_is_read() -> None:
    document = parse(as_file(scan(SCANNED[0]), scan(SCANNED[1]), form="TIFF"), "fax.tiff")
    assert [(page.number, text) for page, text in zip(document.pages, pages(document), strict=True)] == [
        (1, SCANNED[0]),
        (2, SCANNED[1]),
    ]


@needs_tesseract
def test_an_empty_scan_is_refused_with_its_reason() -> None:
    with pytest.raises(InvalidFile, match="none is recognised in its pictures"):
        parse(pdf(scan()), "empty.pdf")


def test_without_tesseract_a_scan_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without_recognition(monkeypatch)
    with pytest.raises(InvalidFile, match=r"'scan\.pdf' holds no text, only images\. Install tesseract-ocr"):
        parse(pdf(scan(*SCANNED)), "scan.pdf")


def test_without_tesseract_the_rest_is_read_and_the_log_names_the_pages(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_recognition(monkeypatch)
    with caplog.at_level(logging.WARNING):
        document = parse(pdf(WRITTEN, scan(*SCANNED)), "mixed.pdf")
    assert pages(document) == [WRITTEN, ""]
    assert "pages_without_text filename='mixed.pdf' pages=[2]" in caplog.text


def test_the_last_page_has_its_own_text_only() -> None:
    assert pages(parse(pdf(WRITTEN, MORE, WRITTEN), "again.pdf")) == [WRITTEN, MORE, WRITTEN]
