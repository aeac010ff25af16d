"""Moderations through the official SDK, judged by a scripted model."""

import json
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.acceptance.serving import Server, serving
from tests.fakes.upstream import Upstream, completion, error

pytestmark = pytest.mark.acceptance

SETTINGS = """
upstream_retries: 0
moderation_model: judge
models:
  - {{id: judge, engine: openai, source: judge-model, base_url: "{url}/judge/v1", fallbacks: [second]}}
  - {{id: second, engine: openai, source: second-model, base_url: "{url}/second/v1"}}
"""


@pytest.fixture(scope="module")
def judging(scripted: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("judging") / "home"
    home.mkdir()
    (home / "loam.yaml").write_text(SETTINGS.format(url=scripted.url))
    with serving(home) as server:
        yield server


@pytest.fixture
def judged(judging: Server) -> Iterator[OpenAI]:
    with judging.client() as client:
        yield client


@pytest.mark.parametrize("model", [None, "omni-moderation-latest", "judge"])
def test_a_text_gets_its_categories_and_scores(judged: OpenAI, upstream: Upstream, model: str | None) -> None:
    upstream.script(completion('{"hate": 0.9, "violence": 0.4}'))
    asked = {"model": model} if model else {}
    moderation = judged.moderations.create(input="I hate them.", **asked)  # type: ignore[arg-type]

    [result] = moderation.results
    assert (result.flagged, result.categories.hate, result.categories.violence) == (True, True, False)
    assert (result.category_scores.hate, result.category_scores.violence) == (0.9, 0.4)
    assert (moderation.model, moderation.id[:5]) == ("judge", "modr-")
    [sent] = upstream.received
    assert "I hate them." in sent.body["messages"][0]["content"]
    assert (sent.body["temperature"], sent.body["response_format"]) == (0, {"type": "json_object"})


def test_each_text_of_a_list_has_a_result(judged: OpenAI, upstream: Upstream) -> None:
    upstream.script(*[completion("{}")] * 20)
    results = judged.moderations.create(input=[f"text {number}" for number in range(20)]).results

    assert [result.flagged for result in results] == [False] * 20
    asked = [received.body["messages"][0]["content"] for received in upstream.received]
    assert sorted(text.partition("<text>\n")[2].partition("\n")[0] for text in asked) == sorted(
        f"text {number}" for number in range(20)
    )


def test_parts_are_judged_as_one_and_pictures_not_at_all(judged: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion("{}"))
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert len(judged.moderations.create(input=parts).results) == 1  # type: ignore[arg-type]

    picture = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    with pytest.raises(openai.BadRequestError, match="text only"):
        judged.moderations.create(input=[picture])  # type: ignore[list-item]


@pytest.mark.parametrize("first", [error(503, "Busy"), completion("I cannot judge that.")])
def test_another_judges_for_one_that_does_not(judged: OpenAI, upstream: Upstream, first: object) -> None:
    upstream.script(first, completion('{"sexual": 1}'))  # type: ignore[arg-type]
    moderation = judged.moderations.create(input="text")

    assert (moderation.model, moderation.results[0].categories.sexual) == ("second", True)


def test_a_judgement_that_cannot_be_read_is_none(judged: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion("Fine by me."))
    with pytest.raises(openai.InternalServerError, match="LOAM_MODERATION_STYLE"):
        judged.moderations.create(input="text", model="second")


def test_a_llama_guard_says_what_is_unsafe(home: object, scripted: Upstream, upstream: Upstream) -> None:
    models = [{"id": "guard", "engine": "openai", "source": "llama-guard", "base_url": f"{scripted.url}/v1"}]
    settings = {"models": json.dumps(models), "moderation_model": "guard", "moderation_style": "llama_guard"}
    upstream.script(completion("\n\nunsafe\nS11"))
    with serving(home, **settings) as server, server.client() as client:  # type: ignore[arg-type]
        [result] = client.moderations.create(input="text").results

    assert (result.flagged, result.categories.self_harm, result.category_scores.self_harm) == (True, True, 1.0)
    assert upstream.received[0].body["messages"] == [{"role": "user", "content": "text"}]


def test_without_a_judge_it_says_what_to_set(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="LOAM_MODERATION_MODEL") as refused:
        client.moderations.create(input="text")
    assert refused.value.code == "moderation_not_configured"

    with pytest.raises(openai.BadRequestError, match="cannot judge"):
        client.moderations.create(input="text", model="extractive")
