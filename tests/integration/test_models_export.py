"""`loam models export` over a home with one tuned model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from services.cli.main import cli
from services.errors import NotFound
from services.settings import Settings
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.wiring import open_services
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

MODEL = "ft:tiny:default:terse:1"

Loam = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("loam")
    base = tiny_model(home / "tiny")
    folder = home / "tuning" / "ftjob-1" / "model"
    manifest = tiny_adapter(folder, base)
    services = open_services(Settings(home=home))
    with services.database.write() as session:
        put_tuned_model(session, DEFAULT_PROJECT, MODEL, parent="tiny", folder=folder, manifest=manifest)
    services.close()
    return home


@pytest.fixture
def loam(home: Path) -> Loam:
    def run(*words: Any) -> Result:
        return CliRunner().invoke(cli, ["--home", str(home), "models", "export", *map(str, words)])

    return run


def test_a_tuned_model_is_written_merged(loam: Loam, tmp_path: Path) -> None:
    done = loam(MODEL, "--merged", tmp_path / "merged", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["folder"], told["dtype"]) == (0, str(tmp_path / "merged"), "float32")
    written = {path.name for path in (tmp_path / "merged").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "Modelfile"} <= written


def test_an_adapter_is_copied(loam: Loam, tmp_path: Path) -> None:
    done = loam(MODEL, "--adapter", tmp_path / "adapter")
    assert done.stdout.startswith(f"Wrote {tmp_path / 'adapter'} (")
    assert (tmp_path / "adapter" / "manifest.json").is_file()


def test_without_a_record_it_says_that_nothing_was_compared(loam: Loam, tmp_path: Path) -> None:
    assert "was not compared" in loam(MODEL, "--merged", tmp_path / "merged").stdout


@pytest.mark.parametrize(
    "words",
    [(MODEL,), (MODEL, "--merged", "a", "--adapter", "b"), (MODEL, "--adapter", "b", "--dtype", "float16")],
)
def test_what_does_not_go_together_is_misuse(loam: Loam, words: tuple[str, ...]) -> None:
    assert loam(*words).exit_code == 2


def test_a_model_that_was_not_tuned_here_is_not_found(loam: Loam, tmp_path: Path) -> None:
    done = loam("tiny", "--merged", tmp_path / "merged")
    assert isinstance(done.exception, NotFound)
