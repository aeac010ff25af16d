"""Every kind of bad file ends in a reason that says what is wrong and what to do, or is read harmlessly."""

from pathlib import Path

import pytest

from rag.errors import FileTooLarge, InvalidFile, RagError, UnsupportedFile
from rag.parse import parse
from tests.fakes.scanned import without_recognition

REFUSED = {
    "zero_bytes.pdf": (InvalidFile, "is empty"),
    "truncated_half.pdf": (InvalidFile, "is damaged"),
    "truncated.docx": (InvalidFile, "is damaged"),
    "zip_not_office.docx": (UnsupportedFile, "is an archive"),
    "zip_bomb_200MB.docx": (FileTooLarge, "expands to more than is allowed"),
    "nul.txt": (UnsupportedFile, "NUL characters"),
}
READ = {
    "html_named.pdf": "I am HTML",
    "latin1.txt": "café crème brûlée",
    "utf16.md": "# Überschrift\n\nText",
    "noext": "plain text without extension\n",
}


@pytest.fixture
def bad(shared_data: Path) -> Path:
    return shared_data / "docs/synthetic_bad"


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_with_its_reason(bad: Path, name: str) -> None:
    error, reason = REFUSED[name]
    with pytest.raises(error, match=f"{name}.*{reason}"):
        parse((bad / name).read_bytes(), name)


@pytest.mark.parametrize("name", READ)
def test_an_odd_file_is_read(bad: Path, name: str) -> None:
    assert parse((bad / name).read_bytes(), name).text == READ[name]


def test_csv_formulas_are_only_text(bad: Path) -> None:
    content = (bad / "formula.csv").read_bytes()
    assert parse(content, "formula.csv").text == content.decode()


@pytest.mark.parametrize("name", ["a.xml", "a.html", "a.svg", "noext"])
def test_an_external_entity_discloses_nothing(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("correct horse battery staple")
    xml = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file://{secret}">]><l>before &x; after</l>'
    assert "horse" not in parse(xml.encode(), name).text


@pytest.mark.parametrize("name", ["a.xml", "a.html"])
def test_entities_that_expand_without_end_do_no_harm(name: str) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{levels}]><l>word &l9;</l>'
    assert len(parse(xml.encode(), name).text) < 10_000


@pytest.mark.parametrize(
    "path", ["unstructured/pdf/password.pdf", "unstructured/password_protected.xlsx"], ids=["pdf", "xlsx"]
)
def test_an_encrypted_file_is_called_encrypted(shared_data: Path, path: str) -> None:
    with pytest.raises(InvalidFile, match=r"is encrypted\. Remove its password"):
        parse((shared_data / "docs" / path).read_bytes(), path)


def test_a_scan_without_ocr_says_what_to_install(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_recognition(monkeypatch)
    content = (shared_data / "docs/unstructured/pdf/loremipsum-flat.pdf").read_bytes()
    with pytest.raises(InvalidFile, match=r"only images\. Install tesseract-ocr"):
        parse(content, "scan.pdf")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.4\n" + b"\x00\xff" * 500, "noise.pdf"),
        (b"PK\x03\x04" + b"\x00" * 500, "noise.docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 500, "noise.doc"),
        (b"{\\rtf1" + b"{" * 50_000, "deep.rtf"),
        (b'{"cells": [', "cut.ipynb"),
        (b"<html><body>" + b"<div>" * 50_000, "deep.html"),
    ],
)
def test_noise_under_any_signature_is_refused(content: bytes, name: str) -> None:
    with pytest.raises(RagError, match=name):
        parse(content, name)
