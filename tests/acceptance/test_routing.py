"""Models that stand in for one another, and the gate before each: the official SDK, a scripted upstream."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.acceptance.serving import Server, serving
from tests.fakes.upstream import SSE, Reply, Upstream, chunk, completion, error, stream

pytestmark = pytest.mark.acceptance

SETTINGS = """
groq_api_key: gsk_of_the_operator
groq_base_url: {url}
upstream_retries: 0
model_wait_s: 0.1
circuit_failures: 8
circuit_open_s: 60
models:
  - {{id: llama, engine: groq, source: llama-3.3-70b-versatile}}
  - {{id: own, engine: openai, source: own-model, base_url: "{url}/own/v1", fallbacks: [llama]}}
  - {{id: gone, engine: openai, source: none, base_url: "http://127.0.0.1:1/v1", fallbacks: [extractive, own]}}
  - {{id: weights, engine: local, source: no-such/weights, fallbacks: [llama]}}
  - {{id: narrow, engine: openai, source: m, base_url: "{url}/narrow/v1", max_concurrent: 1}}
  - {{id: failing, engine: openai, source: m, base_url: "{url}/failing/v1"}}
aliases:
  steady: {{model: narrow, fallbacks: [llama]}}
"""
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def routed(scripted: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("routed") / "home"
    home.mkdir()
    (home / "loam.yaml").write_text(SETTINGS.format(url=scripted.url))
    with serving(home) as server:
        yield server


@pytest.fixture
def client(routed: Server) -> Iterator[OpenAI]:
    with routed.client() as client:
        yield client


def test_a_model_that_stands_in_gives_its_own_name(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(error(503, "Overloaded"), completion("Hi"))
    answer = client.chat.completions.create(model="own", messages=HELLO).to_dict()

    assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("llama", "Hi")
    assert (answer["loam"]["model"], answer["loam"]["engine"]) == ("llama", "groq")
    reason = "openai failed with status 503: Overloaded"
    assert answer["loam"]["tried"] == [{"model": "own", "skipped": False, "reason": reason}]
    assert [received.body["model"] for received in upstream.received] == ["own-model", "llama-3.3-70b-versatile"]


@pytest.mark.parametrize(
    "broken",
    [
        error(429, "Busy", **{"retry-after": "60"}),
        stream(then="cut"),
        Reply(headers=SSE, pieces=[chunk({"role": "assistant", "content": ""})]),
    ],
    ids=["busy", "cut", "ended before a word"],
)
def test_a_stream_passes_to_another_before_its_first_word(client: OpenAI, upstream: Upstream, broken: Reply) -> None:
    upstream.script(broken, stream("H", "i"))
    chunks = list(client.chat.completions.create(model="own", messages=HELLO, stream=True))

    assert "".join(part.choices[0].delta.content or "" for part in chunks if part.choices) == "Hi"
    assert {part.model for part in chunks} == {"llama"}
    [loam] = [part.to_dict()["loam"] for part in chunks if "loam" in part.to_dict()]
    assert [tried["model"] for tried in loam["tried"]] == ["own"]


def test_a_stream_that_has_said_something_ends_with_its_error(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(stream("Half of", then="cut"))
    heard = []
    with pytest.raises(openai.APIError):
        for part in client.chat.completions.create(model="own", messages=HELLO, stream=True):
            heard.append(part.choices[0].delta.content)

    assert ("".join(heard), len(upstream.received)) == ("Half of", 1)


def test_a_response_is_the_model_s_that_wrote_it(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(error(500, "Broken"), stream("Hi"))
    response = client.responses.create(model="own", input="Hello")

    assert (response.model, response.output_text) == ("llama", "Hi")


def test_fallbacks_of_fallbacks_are_tried_and_one_without_documents_is_skipped(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script(error(500, "Broken"), completion("Hi"))
    loam: Any = client.chat.completions.create(model="gone", messages=HELLO).to_dict()["loam"]

    assert loam["model"] == "llama"
    assert [(one["model"], one["skipped"]) for one in loam["tried"]] == [
        ("gone", False),
        ("own", False),
        ("extractive", True),
    ]


def test_when_all_fail_the_error_says_what_was_tried(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(error(500, "Broken"))
    with pytest.raises(openai.APIStatusError) as failed:
        client.chat.completions.create(model="own", messages=HELLO, extra_body={"top_k": 3})

    assert failed.value.status_code == 502
    assert "'llama' was skipped: The groq engine does not support 'top_k'" in failed.value.message


def test_what_is_wrong_with_a_request_goes_to_no_other(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(error(400, "Too long"))
    with pytest.raises(openai.BadRequestError, match="Too long"):
        client.chat.completions.create(model="own", messages=HELLO)

    assert len(upstream.received) == 1


def test_groq_stands_in_for_weights_that_are_not_there(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion("Hi"))

    assert client.chat.completions.create(model="weights", messages=HELLO).model == "llama"


def test_a_full_model_says_when_to_come_back_and_an_alias_may_name_another(client: OpenAI, upstream: Upstream) -> None:
    upstream.script(stream("Once upon", then="hang"), completion("Hi"))
    chunks = client.chat.completions.create(model="narrow", messages=HELLO, stream=True)
    next(chunks)
    with pytest.raises(openai.RateLimitError, match="narrow") as full:
        client.chat.completions.create(model="narrow", messages=HELLO)
    assert (full.value.code, full.value.response.headers["retry-after"]) == ("model_busy", "1")
    assert client.chat.completions.create(model="steady", messages=HELLO).model == "llama"

    chunks.response.close()
    assert upstream.client_gone.wait(10)


def test_what_fails_again_and_again_is_left_alone(routed: Server, client: OpenAI, upstream: Upstream) -> None:
    upstream.script(*[error(500, "Broken")] * 8)
    for _ in range(8):
        with pytest.raises(openai.InternalServerError, match="Broken"):
            client.chat.completions.create(model="failing", messages=HELLO)
    with pytest.raises(openai.InternalServerError, match="left alone") as cut_off:
        client.chat.completions.create(model="failing", messages=HELLO)

    assert (cut_off.value.status_code, len(upstream.received)) == (503, 8)
    assert 50 < int(cut_off.value.response.headers["retry-after"]) <= 60
    assert httpx.get(f"{routed.url}/health").json()["models"]["failing"] == {
        "circuit": "open",
        "in_flight": 0,
        "waiting": 0,
    }
    metrics = httpx.get(f"{routed.url}/metrics").text
    assert 'loam_model_circuit{model="failing",state="open"} 1.0' in metrics
    assert 'loam_model_requests_total{model="failing",outcome="cut_off"} 1.0' in metrics
