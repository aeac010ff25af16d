import os
from pathlib import Path

import pytest

from rag.parse import child


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TESSDATA_PREFIX", "")
    child._ocr_languages.cache_clear()


def test_without_tesseract_there_is_no_recognition() -> None:
    assert child._ocr_languages() == ""


def test_languages_and_data_are_those_of_the_installed_tesseract(tmp_path: Path) -> None:
    listing = 'List of available languages in "/data/tess/" (3):\\ndeu\\neng\\nosd\\n'
    tesseract = tmp_path / "tesseract"
    tesseract.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    tesseract.chmod(0o755)
    assert child._ocr_languages() == "deu+eng"
    assert os.environ["TESSDATA_PREFIX"] == "/data/tess/"
