"""Models over vLLM on the command line: added, asked over a server that starts for it, and looked at by doctor."""

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from services.cli.main import cli
from services.errors import ServiceError
from tests.fakes.vllm_server import python_of, started

Run = Callable[..., Result]


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return python_of(tmp_path / "fake").parent


@pytest.fixture
def run(home: Path, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOAM_VLLM_PYTHON", str(fake / "python"))
    return lambda *words: CliRunner().invoke(cli, ["--home", str(home), *words])


def test_a_model_is_added_and_answers_over_a_server_that_ends_with_the_command(run: Run, fake: Path) -> None:
    assert run("models", "add", "own", "--engine", "vllm", "--source", "./tiny", "--dtype", "float32").exit_code == 0
    [own] = [model for model in json.loads(run("models", "list", "--json").stdout) if model["id"] == "own"]
    assert own["engine"] == "vllm"

    asked = run("ask", "what is two and two?", "--model", "own")
    assert "own: what is two and two?" in asked.stdout, asked.output
    assert not psutil.pid_exists(started(fake)[0]["pid"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--source", "./nowhere"), "no directory"),
        (("--source", "./tiny", "--quantization", "nf4"), "quantization means nothing"),
        (("--source", "./tiny", "--api-key-env", "KEY"), "api_key_env means nothing to the engine vllm without a base"),
        (("--source", "m", "--base-url", "http://x/v1", "--dtype", "float32"), "dtype means nothing"),
    ],
)
def test_what_could_not_answer_is_not_added(run: Run, words: tuple[str, ...], said: str) -> None:
    refused = run("models", "add", "own", "--engine", "vllm", *words)

    assert isinstance(refused.exception, ServiceError)
    assert said in str(refused.exception)


def test_doctor_says_whether_there_is_a_vllm(run: Run, fake: Path) -> None:
    findings = {one["name"]: one for one in json.loads(run("doctor", "--json").stdout)["findings"]}
    assert findings["vllm"]["state"] == "ok"

    (fake / "python").write_text("#!/bin/sh\nexit 1\n")
    findings = {one["name"]: one for one in json.loads(run("doctor", "--json").stdout)["findings"]}
    assert findings["vllm"]["state"] == "failed"
    assert "make vllm" in findings["vllm"]["detail"]


def test_doctor_names_the_model_whose_weights_have_gone(run: Run, tmp_path: Path) -> None:
    assert run("models", "add", "own", "--engine", "local", "--source", "./tiny").exit_code == 0
    findings = {one["name"]: one for one in json.loads(run("doctor", "--json").stdout)["findings"]}
    assert findings["models"]["state"] == "ok"

    (tmp_path / "tiny" / "config.json").unlink()
    findings = {one["name"]: one for one in json.loads(run("doctor", "--json").stdout)["findings"]}
    assert (findings["models"]["state"], "own: " in findings["models"]["detail"]) == ("failed", True)
    assert str(tmp_path / "tiny") in findings["models"]["detail"]
