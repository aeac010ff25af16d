"""A hosted model that cites whatever is near, before and after `loam eval calibrate`, in every shape of an answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.acceptance.handbook import ANSWER, QUESTION, REFUSAL
from tests.acceptance.serving import Server
from tests.acceptance.shell import Shell
from tests.fakes.upstream import Upstream, completion, stream

pytestmark = pytest.mark.acceptance

MODEL, ALIAS = "own", "own-writer"
BLUFFED = "Who won the chess world championship?"
BLUFF = "Clay holds water for weeks [1] [2]."
RIGHT = f"{ANSWER} [1] [2]"
EACH = 32


@pytest.fixture(scope="module")
def calibrated(
    hosted: Server, handbook: str, scripted: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """What `loam eval calibrate` printed of the model, which is not calibrated any more afterwards."""
    folder: Path = tmp_path_factory.mktemp("calibrated")
    rows = [row for number in range(EACH) for row in ({"question": QUESTION, "answer": "May"}, {"question": BLUFFED})]
    (folder / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scripted.script(*[completion(text) for _ in range(EACH) for text in (RIGHT, BLUFF)])
    shell = Shell(hosted.home)
    measured = shell.json("eval", "answers", folder / "asked.jsonl", "--store", "handbook", "--model", ALIAS)
    assert measured["measures"]["balanced_accuracy"]["value"] == 0.5
    yield shell.json("eval", "calibrate", measured["folder"])
    assert shell.json("eval", "calibrations", "--remove", MODEL) == []


def asked(client: OpenAI, question: str, **more: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=ALIAS, messages=messages, **more)


def test_what_it_was_not_fitted_on_is_told_apart(calibrated: Any) -> None:
    before, after = calibrated["before"]["at_threshold"], calibrated["after"]["at_threshold"]
    assert (before["refused_of_unanswerable"], before["precision"]) == (0.0, 0.5)
    assert (after["refused_of_unanswerable"], after["answered_of_answerable"], after["precision"]) == (1.0, 1.0, 1.0)


def test_an_answer_counts_as_it_is_likely(calibrated: Any, hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion(RIGHT), completion(BLUFF))
    right, bluff = asked(hosted_client, QUESTION).to_dict(), asked(hosted_client, BLUFFED).to_dict()

    message = right["choices"][0]["message"]
    assert (message["content"], len(message["annotations"]), right["loam"]["answered"]) == (f"{ANSWER} [1]", 1, True)
    refused = bluff["choices"][0]["message"]
    assert (refused["content"], refused["annotations"], bluff["loam"]["answered"]) == (REFUSAL, [], False)
    threshold = calibrated["calibration"]["threshold"]
    assert bluff["loam"]["confidence"] < threshold <= right["loam"]["confidence"]


def test_a_stream_says_at_its_end_that_it_does_not_count(
    calibrated: Any, hosted_client: OpenAI, upstream: Upstream
) -> None:
    upstream.script(stream(*BLUFF))
    chunks = [part.to_dict() for part in asked(hosted_client, BLUFFED, stream=True)]

    said = "".join(choice["delta"].get("content") or "" for part in chunks for choice in part["choices"])
    [info] = [part["loam"] for part in chunks if "loam" in part]
    assert said.startswith("Clay holds water for weeks")
    assert (info["answered"], info["confidence"] < calibrated["calibration"]["threshold"]) == (False, True)
    annotated = [
        choice["delta"]["annotations"]
        for part in chunks
        for choice in part["choices"]
        if "annotations" in choice["delta"]
    ]
    assert annotated == [[]]


def test_a_response_is_refused_as_a_whole_and_told_in_its_last_event(
    calibrated: Any, hosted_client: OpenAI, upstream: Upstream
) -> None:
    upstream.script(stream(*BLUFF), stream(*RIGHT))
    whole = hosted_client.responses.create(model=ALIAS, input=BLUFFED)
    *_, last = hosted_client.responses.create(model=ALIAS, input=QUESTION, stream=True)

    assert (whole.output_text, whole.to_dict()["loam"]["answered"]) == (REFUSAL, False)
    assert last.to_dict()["response"]["loam"]["confidence"] >= calibrated["calibration"]["threshold"]


def test_the_extractive_engine_tells_its_own_probability(hosted_client: OpenAI, handbook: str) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    loam = hosted_client.chat.completions.create(model="gardener", messages=messages).to_dict()["loam"]
    assert (loam["answered"], loam["confidence"] >= 0.38) == (True, True)
