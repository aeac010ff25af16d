"""How `loam` ends: what it says and its exit code. Each error is raised by a verb put in for the test."""

import sys

import click
import pytest

from rag.errors import InvalidFile
from services.cli import main as module
from services.cli.main import VERBS, cli
from services.errors import InvalidSettings, NotFound


def run(monkeypatch: pytest.MonkeyPatch, *words: str, error: BaseException | None = None) -> int:
    @click.command()
    def verb() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(module.Verbs, "get_command", lambda _group, _context, name: verb if name == "verb" else None)
    monkeypatch.setattr(sys, "argv", ["loam", *words])
    return module.run()


def test_every_verb_is_found_under_its_name() -> None:
    context = click.Context(cli)
    assert [command.name for verb in VERBS if (command := cli.get_command(context, verb))] == list(VERBS)


def test_done_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "verb") == 0


@pytest.mark.parametrize("words", [["nonsense"], ["verb", "--nonsense"], ["--nonsense"]])
def test_misuse_is_2(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    assert run(monkeypatch, *words) == 2


@pytest.mark.parametrize("error", [NotFound("no store"), InvalidSettings("bad key"), InvalidFile("broken")])
def test_a_foreseen_error_is_1_and_only_its_message_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert run(monkeypatch, "verb", error=error) == 1
    assert capsys.readouterr().err == f"Error: {error}\n"


def test_an_unforeseen_error_says_its_kind_and_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LOAM_LOG_LEVEL", raising=False)
    assert run(monkeypatch, "verb", error=ZeroDivisionError("by nought")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ZeroDivisionError: by nought (")
    assert "--verbose shows where it came from" in said


def test_verbose_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        run(monkeypatch, "--verbose", "verb", error=NotFound("no store"))


def test_an_interrupt_is_130_and_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "verb", error=KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_verb_that_says_its_own_code_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "verb", error=click.exceptions.Exit(1)) == 1
