from pathlib import Path

import pytest
from click.testing import CliRunner

from rag.types import Answer
from services.cli import chat as module
from services.cli.main import cli
from services.errors import RateLimited, ServiceError, UpstreamFailed


@pytest.mark.parametrize("failure", [RateLimited("Too much at once."), UpstreamFailed("It broke.")])
def test_a_conversation_outlives_a_failure_that_may_pass(
    monkeypatch: pytest.MonkeyPatch, home: Path, failure: ServiceError
) -> None:
    asked: list[list[str]] = []

    def answer_from(_services: object, messages: list[dict[str, str]], **_: object) -> Answer:
        asked.append([message["content"] for message in messages])
        if len(asked) == 2:
            raise failure
        return Answer(text=f"Answer {len(asked)}.", citations=(), answered=True)

    monkeypatch.setattr(module, "answer_from", answer_from)
    ran = CliRunner().invoke(cli, ["--home", str(home), "chat", "--store", "docs"], input="one\ntwo\nthree\n")
    assert asked == [["one"], ["one", "Answer 1.", "two"], ["one", "Answer 1.", "three"]]
    assert f"Error: {failure}" in ran.stderr
