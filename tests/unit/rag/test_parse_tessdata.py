from pathlib import Path

import pytest

from rag.parse import tessdata
from rag.parse.tessdata import Recognition, find_recognition
from tests.fakes.scanned import without_recognition


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    without_recognition(monkeypatch)
    tessdata._told_by.cache_clear()


def trained(folder: Path, *languages: str) -> Path:
    folder.mkdir(parents=True)
    for language in languages:
        (folder / f"{language}.traineddata").touch()
    return folder


def test_without_trained_data_there_is_no_recognition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSDATA_PREFIX", str(trained(tmp_path / "tess", "osd")))
    assert find_recognition() is None


@pytest.mark.parametrize("named", ["5", "5/tessdata"])
def test_tesseracts_own_variable_names_the_folder_or_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    folder = trained(tmp_path / "5" / "tessdata", "deu", "eng", "osd")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path / named))
    assert find_recognition() == Recognition(folder=str(folder), languages="eng+deu", turns=True)


def test_a_distributions_newest_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "4.00" / "tessdata", "deu")
    folder = trained(tmp_path / "5" / "tessdata", "deu")
    monkeypatch.setattr(tessdata, "_FOLDERS", (f"{tmp_path}/*/tessdata",))
    assert find_recognition() == Recognition(folder=str(folder), languages="deu", turns=False)


def test_a_tesseract_elsewhere_is_asked_for_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path / "tess", "eng")
    tesseract = tmp_path / "tesseract"
    tesseract.write_text(f"#!/bin/sh\nprintf 'List of available languages in \"{folder}/\" (1):\\neng\\n'\n")
    tesseract.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_recognition() == Recognition(folder=str(folder), languages="eng", turns=False)


def test_of_many_languages_english_and_four_others_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "tess", "ara", "bel", "cat", "dan", "eng", "fra")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path / "tess"))
    found = find_recognition()
    assert found is not None and found.languages == "eng+ara+bel+cat+dan"
