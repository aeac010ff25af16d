"""Local models on the command line: added, listed, asked, talked with and removed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.cli.main import cli
from services.errors import ServiceError
from services.settings import Settings
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.wiring import open_services
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_model import tiny_model

Run = Callable[..., Result]

TUNED = "ft:tiny:default::1a2b3c4d"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def run(home: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run loam in the folder that holds the model."""
    monkeypatch.chdir(base.parent)

    def run(*words: str, spoken: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--home", str(home), *words], input=spoken)

    return run


def test_a_model_is_added_by_its_directory_and_answers(run: Run, base: Path) -> None:
    assert run("models", "add", "own", "--engine", "local", "--source", "./tiny", "--dtype", "float32").exit_code == 0
    [own] = [model for model in json.loads(run("models", "list", "--json").stdout) if model["id"] == "own"]
    assert (own["kind"], own["engine"]) == ("model", "local")

    asked = run("ask", "what is two and two?", "--model", "own", "--json")
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout)["answered"] is True
    talked = run("chat", "--model", "own", spoken="hi\n")
    assert talked.exit_code == 0, talked.output
    assert run("models", "remove", "own").exit_code == 0
    assert base.is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("own", "--engine", "local", "--source", "./nowhere"), "no directory"),
        (("own", "--engine", "local", "--source", "."), "no config.json"),
        (("own", "--engine", "local", "--source", "a b"), "neither a directory nor a hub id"),
        (("own", "--engine", "local", "--source", "./tiny", "--base-url", "http://x"), "base_url means nothing"),
        (("own", "--engine", "groq", "--source", "llama", "--quantization", "nf4"), "quantization means nothing"),
        (("ft:own", "--engine", "local", "--source", "./tiny"), "Choose another"),
    ],
)
def test_what_could_not_answer_is_not_added(run: Run, words: tuple[str, ...], said: str) -> None:
    refused = run("models", "add", *words)

    assert isinstance(refused.exception, ServiceError)
    assert said in str(refused.exception)
    assert "own" not in run("models", "list").stdout


def test_a_tuned_model_is_listed_asked_and_removed_with_its_files(run: Run, home: Path, base: Path) -> None:
    folder = home / "tuning" / "ftjob-1" / "model"
    services = open_services(Settings(home=home))
    manifest = tiny_adapter(folder, base)
    with services.database.write() as session:
        put_tuned_model(session, DEFAULT_PROJECT, TUNED, parent="tiny", folder=folder, manifest=manifest)
    services.close()

    listed = {model["id"]: model for model in json.loads(run("models", "list", "--json").stdout)}
    assert (listed[TUNED]["kind"], listed[TUNED]["parent"]) == ("adapter", "tiny")
    assert run("ask", "what is two?", "--model", TUNED).exit_code == 0
    assert run("models", "remove", TUNED).exit_code == 0
    assert not folder.exists()
    assert base.is_dir()


def test_a_model_that_quotes_needs_documents_still(run: Run) -> None:
    refused = run("ask", "what is two?")

    assert (refused.exit_code, "--store" in refused.output) == (2, True)
