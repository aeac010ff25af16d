"""Raw prompts through the official SDK, to a scripted upstream."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.acceptance.serving import Server
from tests.fakes.upstream import Reply, Upstream, error, text_completion, text_stream

pytestmark = pytest.mark.acceptance


def test_everything_that_is_asked_is_forwarded(hosted_client: OpenAI, upstream: Upstream) -> None:
    options: dict[str, Any] = {
        "best_of": 3,
        "echo": True,
        "frequency_penalty": 0.5,
        "logit_bias": {"50256": -100},
        "logprobs": 2,
        "max_tokens": 5,
        "n": 2,
        "presence_penalty": -0.5,
        "seed": 1,
        "stop": ["\n"],
        "suffix": " end",
        "temperature": 0.2,
        "top_p": 0.9,
        "user": "ada",
    }
    upstream.script(text_completion("a", "b"), text_completion("a", "b"))
    with OpenAI(base_url=f"{upstream.url}/own/v1", api_key="none", max_retries=0) as direct:
        direct.completions.create(model="own-model", prompt="Once", **options)
    answer = hosted_client.completions.create(model="own", prompt="Once", **options, extra_body={"top_k": 3})

    sent_by_sdk, sent_by_loam = upstream.received
    assert sent_by_loam.body == {**sent_by_sdk.body, "top_k": 3}
    assert sent_by_loam.path == sent_by_sdk.path == "/own/v1/completions"
    assert [choice.text for choice in answer.choices] == ["a", "b"]


@pytest.mark.parametrize("prompt", ["Once", "", ["Once", "Twice"], [1, 2, 3], [[1, 2], [3]], None])
def test_a_prompt_may_be_text_or_tokens(hosted_client: OpenAI, upstream: Upstream, prompt: Any) -> None:
    upstream.script(text_completion("a"))
    hosted_client.completions.create(model="own", prompt=prompt)

    assert upstream.received[0].body["prompt"] == prompt


def test_only_id_and_model_are_rewritten(hosted_client: OpenAI, upstream: Upstream) -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"a": -0.5}], "text_offset": [0]}
    upstream.script(text_completion("a", logprobs=logprobs, finish_reason="length"))
    answer = hosted_client.completions.create(model="own", prompt="Once", logprobs=1).to_dict()

    assert str(answer["id"]).startswith("cmpl-") and answer["id"] != "cmpl-upstream"
    assert (answer["model"], answer["object"], answer["created"]) == ("own", "text_completion", 1700000000)
    assert answer["choices"] == [{"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": "length"}]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert (answer["loam"]["engine"], answer["loam"]["model"]) == ("openai", "own")


@pytest.mark.parametrize("cut_every", [1, 7, 1 << 16])
def test_a_stream_gives_the_text_as_it_grows(hosted_client: OpenAI, upstream: Upstream, cut_every: int) -> None:
    upstream.script(text_stream("Once", " upon — 東京", cut_every=cut_every))
    chunks = list(hosted_client.completions.create(model="own", prompt="x", stream=True))

    assert [part.choices[0].text for part in chunks] == ["Once", " upon — 東京", ""]
    assert ({part.model for part in chunks}, len({part.id for part in chunks})) == ({"own"}, 1)
    assert ["loam" in part.to_dict() for part in chunks] == [False, False, True]


def test_a_stream_that_breaks_ends_with_an_error(hosted: Server, hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(text_stream("Half of", then="cut"), text_stream("Half of", then="cut"))
    raw = httpx.post(f"{hosted.base_url}/completions", json={"model": "own", "prompt": "x", "stream": True})
    *_, last, empty = raw.text.split("\n\n")
    assert (raw.status_code, json.loads(last.removeprefix("data: ")).keys(), empty) == (200, {"error"}, "")

    with pytest.raises(openai.APIError):
        list(hosted_client.completions.create(model="own", prompt="x", stream=True))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x", "stream": True, "best_of": 2}, None),
        ({"prompt": "x", "n": 3, "best_of": 2}, None),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, None),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": "x", "messages": []}, "messages"),
        ({}, "prompt"),
    ],
)
def test_what_cannot_be_is_refused_by_name(hosted: Server, body: dict[str, Any], param: str | None) -> None:
    response = httpx.post(f"{hosted.base_url}/completions", json={"model": "own", **body})

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(("model", "engine"), [("extractive", "extractive"), ("llama", "groq")])
def test_an_engine_without_raw_prompts_says_so(hosted_client: OpenAI, model: str, engine: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"The {engine} engine does not take raw prompts") as refused:
        hosted_client.completions.create(model=model, prompt="x")

    assert refused.value.code == "unsupported_endpoint"


def test_a_raw_prompt_is_not_grounded(hosted_client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="answers from documents"):
        hosted_client.completions.create(model="own-writer", prompt="x")


@pytest.mark.parametrize("reply", [error(400, "Too long"), Reply(pieces=[b"[]"])])
def test_a_failure_is_the_upstream_s(hosted_client: OpenAI, upstream: Upstream, reply: Reply) -> None:
    upstream.script(reply)
    with pytest.raises(openai.APIStatusError) as failed:
        hosted_client.completions.create(model="own", prompt="x")

    assert failed.value.status_code == (400 if reply.status == 400 else 502)
