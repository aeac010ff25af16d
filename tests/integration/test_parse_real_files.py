"""The parser process on real documents, and what becomes of it when things go wrong."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rag.errors import InvalidFile, RagError
from rag.parse import ParseLimits, close, parse
from tests.fakes.scanned import without_recognition

SLOW_HTML = b"<html><body>" + b"<p>Hello <b>world</b> &amp; all</p>" * 300_000
ROOT = Path(__file__).parents[2]
DOCX = "docling/docx/sources/unit_test_headers.docx"


def two_page_pdf() -> bytes:
    """A PDF with a page of accents, so that byte offsets would not be character offsets."""
    head = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    tree = b"2 0 obj<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>endobj\n"
    font = b"7 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>endobj\n"
    pages = b"".join(
        b"%d 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Resources<</Font<</F 7 0 R>>>>"
        b"/Contents %d 0 R>>endobj\n"
        b"%d 0 obj<</Length %d>>stream\nBT /F 12 Tf 9 50 Td (%s) Tj ET\nendstream endobj\n"
        % (number, number + 2, number + 2, len(text) + 35, text)
        for number, text in [(3, "élève à côté".encode("cp1252")), (4, b"second page")]
    )
    return head + tree + font + pages + b"trailer<</Root 1 0 R>>"


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    close()
    assert not parser_processes()


def parser_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "child.py" in " ".join(child.cmdline())]


def test_pdf_pages_are_spans_in_characters() -> None:
    document = parse(two_page_pdf(), "a.pdf")
    assert [(p.number, document.text[p.start : p.end]) for p in document.pages] == [
        (1, "élève à côté"),
        (2, "second page"),
    ]


def test_html_gives_title_headings_and_tables() -> None:
    page = (
        "<html><head><title>T &amp; t</title><meta name=a content=b></head><body><h1>Höhe</h1>"
        "<p>One.</p><img src='data:image/png;base64,iVBORw0KGgo='>"
        "<table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table>"
    )
    document = parse(page.encode(), "a.html")
    assert document.title == "T & t"
    assert [(h.level, h.title, h.start) for h in document.headings] == [(1, "Höhe", 0)]
    assert "| a " in document.text
    assert "title:" not in document.text and "iVBOR" not in document.text


def test_mail_is_titled_by_its_subject() -> None:
    document = parse(b"From: a@b.c\nTo: d@e.f\nSubject: Lunch?\n\nAt noon <b>not bold</b>.\n", "a.eml")
    assert document.title == "Lunch?"
    assert document.text.endswith("At noon <b>not bold</b>.")


def test_every_real_document_is_read_or_refused_with_a_reason(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_recognition(monkeypatch)  # scans have tests of their own, and would take minutes here
    files = [path for path in sorted((shared_data / "docs").rglob("*")) if path.is_file()]
    outcomes = {path: outcome(path) for path in files}
    read = [path for path, reason in outcomes.items() if reason is None]
    assert len(files) > 250
    assert len(read) / len(files) > 0.85
    assert all(path.name in reason for path, reason in outcomes.items() if reason)


def outcome(path: Path) -> str | None:
    try:
        document = parse(path.read_bytes(), path.name)
    except RagError as exc:
        return str(exc)
    assert document.text.strip() and "\x00" not in document.text
    assert all(document.text[h.start :].strip() for h in document.headings)
    return None


def test_word_headings_are_kept(shared_data: Path) -> None:
    document = parse((shared_data / "docs" / DOCX).read_bytes(), "headers.docx")
    assert [(h.level, h.title) for h in document.headings][:3] == [
        (1, "Test Document"),
        (1, "Section 1"),
        (2, "Section 1.1"),
    ]


def test_slides_keep_numbers_and_titles(shared_data: Path) -> None:
    path = shared_data / "docs/docling/pptx/sources/powerpoint_sample.pptx"
    document = parse(path.read_bytes(), "sample.pptx")
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert [h.title for h in document.headings] == ["Test Table Slide", "Second slide title"]


def test_one_process_serves_many_documents() -> None:
    parse(two_page_pdf(), "a.pdf")
    first = parser_processes()
    parse(two_page_pdf(), "b.pdf")
    assert [p.pid for p in parser_processes()] == [p.pid for p in first] and len(first) == 1


def test_a_large_parent_does_not_make_its_parser_leave_after_each_document() -> None:
    script = (
        "import os, psutil; from rag.parse import parse; from tests.integration.test_parse_real_files import *\n"
        "held = bytearray(os.urandom(1 << 20) * 500)\n"
        "parse(two_page_pdf(), 'a.pdf'); first = parser_processes()\n"
        "parse(two_page_pdf(), 'b.pdf'); assert parser_processes() == first and len(first) == 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_text_needs_no_process() -> None:
    parse(b"# words\n", "a.md")
    assert not parser_processes()


def test_a_slow_document_is_given_up_and_the_next_is_read() -> None:
    with pytest.raises(InvalidFile, match="took longer than 1 s"):
        parse(SLOW_HTML, "slow.html", limits=ParseLimits(seconds=1))
    assert parse(two_page_pdf(), "a.pdf").pages


def test_a_document_that_takes_too_much_memory_is_given_up_and_the_next_is_read() -> None:
    with pytest.raises(InvalidFile, match="more memory"):
        parse(SLOW_HTML, "large.html", limits=ParseLimits(memory_bytes=256 * 1024 * 1024))
    assert parse(two_page_pdf(), "a.pdf").pages


def test_a_process_that_died_meanwhile_is_replaced() -> None:
    parse(two_page_pdf(), "a.pdf")
    parser_processes()[0].kill()
    assert parse(two_page_pdf(), "b.pdf").pages


def test_nothing_is_printed_by_a_parser(capfd: pytest.CaptureFixture[str], shared_data: Path) -> None:
    parse((shared_data / "docs/pypdf/025-attachment/with-attachment.pdf").read_bytes(), "a.pdf")
    assert capfd.readouterr() == ("", "")


def test_no_parser_outlives_a_killed_parent() -> None:
    code = "import sys; from rag.parse import parse; print(1, flush=True); parse(sys.stdin.buffer.read(), 'a.html')"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin and parent.stdout
    with parent:
        parent.stdout.readline()
        parent.stdin.write(SLOW_HTML)
        parent.stdin.close()
        children = wait_for_children(parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert psutil.wait_procs(children, timeout=10)[1] == []


def wait_for_children(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if children := psutil.Process(pid).children():
            return children
        time.sleep(0.05)
    pytest.fail("the parser process was never started")
