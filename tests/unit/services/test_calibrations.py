"""Calibrations as files: found by model and embedder, followed when they change, and never in the way."""

import os
from pathlib import Path

import pytest

from services.calibrations import Calibrations
from tests.fakes.calibrated import kept

EMBEDDER = "words-1"
TUNED = "ft:qwen3-4b:default:soil:ab12"


@pytest.fixture
def calibrations(tmp_path: Path) -> Calibrations:
    return Calibrations(tmp_path / "calibrations")


@pytest.mark.parametrize("model", ["llama", "groq/openai/gpt-oss-20b", TUNED, "../escape", "a@b"])
def test_any_model_s_calibration_is_found_again(calibrations: Calibrations, tmp_path: Path, model: str) -> None:
    path = calibrations.save(kept(model, threshold=0.5))
    assert path.parent == tmp_path / "calibrations"
    assert calibrations.find(model, EMBEDDER) == kept(model, threshold=0.5)
    assert calibrations.every() == [kept(model, threshold=0.5)]


def test_there_is_none_of_another_model_or_embedder(calibrations: Calibrations) -> None:
    assert calibrations.find("llama", EMBEDDER) is None
    calibrations.save(kept("llama", threshold=0.5))
    assert calibrations.find("llama-2", EMBEDDER) is calibrations.find("llama", "words-2") is None


def test_a_later_one_takes_its_place_while_a_server_runs(calibrations: Calibrations, tmp_path: Path) -> None:
    calibrations.save(kept("llama", threshold=0.5))
    assert calibrations.find("llama", EMBEDDER) is calibrations.find("llama", EMBEDDER)
    path = Calibrations(tmp_path / "calibrations").save(kept("llama", threshold=0.75))
    os.utime(path, ns=(1, 1))
    found = calibrations.find("llama", EMBEDDER)
    assert found is not None and found.threshold == 0.75


def test_removing_one_leaves_those_of_other_models(calibrations: Calibrations) -> None:
    for model, embedder in (("llama", EMBEDDER), ("llama", "words-2"), ("llama-2", EMBEDDER)):
        calibrations.save(kept(model, threshold=0.5, embedder=embedder))
    assert (calibrations.remove("llama"), calibrations.remove("llama")) == (2, 0)
    assert calibrations.find("llama", EMBEDDER) is None
    assert [one.model for one in calibrations.every()] == ["llama-2"]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2}', "\udcff"])
def test_a_file_that_is_none_is_told_of_and_not_used(
    calibrations: Calibrations, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    path = calibrations.save(kept("llama", threshold=0.5))
    path.write_text(content, errors="surrogateescape")
    assert calibrations.find("llama", EMBEDDER) is None
    assert calibrations.every() == []
    assert "calibration_unreadable" in caplog.text


def test_what_was_fitted_on_other_features_is_told_of_and_not_used(
    calibrations: Calibrations, caplog: pytest.LogCaptureFixture
) -> None:
    calibrations.save(kept("llama", threshold=0.5).model_copy(update={"weights": {"length": 1.0}}))
    assert calibrations.find("llama", EMBEDDER) is None
    assert "calibration_outdated" in caplog.text
