"""Hosted engines: both SDKs through loam to a scripted upstream that speaks Groq's wire and misbehaves."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import groq as groq_sdk
import httpx
import openai
import pytest
from groq import Groq
from openai import OpenAI

from tests.acceptance.handbook import ANSWER, QUESTION, REFUSAL, check_citations
from tests.acceptance.serving import Server
from tests.fakes.upstream import SSE, Reply, Upstream, chunk, completion, error, stream

pytestmark = pytest.mark.acceptance

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
GREETING = "Grüße aus 東京 — 🌱!"
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def content_of(chunks: Any) -> str:
    return "".join(part.choices[0].delta.content or "" for part in chunks if part.choices)


def test_the_request_is_the_one_that_groq_s_sdk_would_send(groq: Groq, upstream: Upstream) -> None:
    options: dict[str, Any] = {
        "temperature": 0.2,
        "max_tokens": 5,
        "stop": ["x"],
        "tools": [TOOL],
        "seed": 1,
        "top_p": 1,
    }
    upstream.script(completion("one"), completion("two"))
    with Groq(base_url=upstream.url, api_key="gsk_of_the_operator", max_retries=0) as direct:
        direct.chat.completions.create(model="llama-3.3-70b-versatile", messages=HELLO, **options)
    groq.chat.completions.create(model="llama", messages=HELLO, **options)

    sent_by_sdk, sent_by_loam = upstream.received
    assert sent_by_loam.body == sent_by_sdk.body
    assert sent_by_loam.path == sent_by_sdk.path
    for header in ("authorization", "content-type", "accept"):
        assert sent_by_loam.headers[header] == sent_by_sdk.headers[header]


def test_any_groq_model_answers_without_being_declared(groq: Groq, upstream: Upstream) -> None:
    upstream.script(completion(GREETING))
    answer = groq.chat.completions.create(model="groq/openai/gpt-oss-20b", messages=HELLO)

    assert upstream.received[0].body["model"] == "openai/gpt-oss-20b"
    assert (answer.model, answer.choices[0].message.content) == ("groq/openai/gpt-oss-20b", GREETING)


def test_only_id_and_model_are_rewritten(hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion("Hi", reasoning="short"))
    answer = hosted_client.chat.completions.create(model="llama", messages=HELLO).to_dict()

    assert answer["id"] != "chatcmpl-upstream" and str(answer["id"]).startswith("chatcmpl-")
    assert (answer["model"], answer["created"], answer["x_groq"]) == ("llama", 1700000000, {"id": "req_upstream"})
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hi", "reasoning": "short"}
    assert (answer["loam"]["engine"], answer["loam"]["answered"]) == ("groq", None)


def test_connections_are_used_again(groq: Groq, upstream: Upstream) -> None:
    replies = [stream("one"), completion("two"), stream("three"), error(400, "four"), completion("five")]
    upstream.script(completion("zero"))
    groq.chat.completions.create(model="llama", messages=HELLO)
    upstream.script(*replies)
    for reply in replies:
        streaming = reply.headers is SSE
        with suppress(groq_sdk.BadRequestError):
            list(groq.chat.completions.create(model="llama", messages=HELLO, stream=streaming))

    assert (len(upstream.received), upstream.connections) == (5, 0)


def test_groq_s_sdk_may_be_given_the_base_url_of_openai_s(hosted: Server, upstream: Upstream) -> None:
    upstream.script(completion("Hi"))
    with Groq(base_url=hosted.base_url, api_key="none", max_retries=0) as client:
        assert client.chat.completions.create(model="llama", messages=HELLO).choices[0].message.content == "Hi"


@pytest.mark.parametrize("cut_every", [1, 2, 3, 7, 64])
def test_a_stream_survives_bytes_cut_anywhere(groq: Groq, upstream: Upstream, cut_every: int) -> None:
    upstream.script(stream(*GREETING, cut_every=cut_every))
    chunks = list(groq.chat.completions.create(model="llama", messages=HELLO, stream=True))

    assert content_of(chunks) == GREETING
    assert {part.model for part in chunks} == {"llama"}


def test_tools_pass_both_ways(hosted_client: OpenAI, upstream: Upstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    upstream.script(completion("", tool_calls=[call]), completion("Sunny"))
    asked = hosted_client.chat.completions.create(model="llama", messages=HELLO, tools=[TOOL])
    turns = [*HELLO, asked.choices[0].message, {"role": "tool", "tool_call_id": "call_1", "content": "sun"}]
    answer = hosted_client.chat.completions.create(model="llama", messages=turns, tools=[TOOL])

    assert answer.choices[0].message.content == "Sunny"
    sent = upstream.received[1].body["messages"]
    assert (sent[1]["tool_calls"], sent[2]["tool_call_id"]) == ([call], "call_1")
    assert "annotations" not in sent[1]


def test_what_a_server_of_one_s_own_takes_is_passed_on(hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(completion("Hi"))
    hosted_client.chat.completions.create(model="own", messages=HELLO, extra_body={"top_k": 3}, logprobs=True)

    [sent] = upstream.received
    assert (sent.path, sent.body["top_k"], sent.body["logprobs"]) == ("/own/v1/chat/completions", 3, True)
    assert "authorization" not in sent.headers


def test_a_busy_upstream_is_asked_again(groq: Groq, upstream: Upstream) -> None:
    upstream.script(error(503, "Overloaded", **{"retry-after": "0"}), completion("At last"))
    assert groq.chat.completions.create(model="llama", messages=HELLO).choices[0].message.content == "At last"

    upstream.script(error(429, "Slow down", **{"retry-after": "0"}), stream("At last"))
    assert content_of(groq.chat.completions.create(model="llama", messages=HELLO, stream=True)) == "At last"


def test_a_long_pause_is_the_caller_s_to_make(groq: Groq, upstream: Upstream) -> None:
    upstream.script(error(429, "Rate limit reached", **{"retry-after": "70"}))
    with pytest.raises(groq_sdk.RateLimitError, match="Rate limit reached") as limited:
        groq.chat.completions.create(model="llama", messages=HELLO, stream=True)

    assert limited.value.response.headers["retry-after"] == "70"
    assert len(upstream.received) == 1


def test_silence_is_a_timeout(hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(Reply(then="hang"), Reply(headers=SSE, pieces=[chunk({"content": "Well"})], then="hang"))
    with pytest.raises(openai.APIStatusError) as late:
        hosted_client.chat.completions.create(model="hasty", messages=HELLO)
    assert late.value.status_code == 504

    chunks = hosted_client.chat.completions.create(model="hasty", messages=HELLO, stream=True)
    assert next(chunks).choices[0].delta.content == "Well"
    with pytest.raises(openai.APIError, match="sent nothing"):
        next(chunks)


def test_an_upstream_that_is_not_there_is_a_bad_gateway(hosted: Server) -> None:
    body = {"model": "nowhere", "messages": HELLO}
    response = httpx.post(f"{hosted.base_url}/chat/completions", json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_unreachable")


def test_a_refused_key_is_not_the_caller_s_and_is_shown_to_nobody(hosted: Server, upstream: Upstream) -> None:
    upstream.script(error(401, "Invalid API Key gsk_of_the_operator"))
    response = httpx.post(f"{hosted.base_url}/chat/completions", json={"model": "llama", "messages": HELLO})

    assert response.status_code == 502
    assert "GROQ_API_KEY" in response.json()["error"]["message"]
    assert "gsk_of" not in response.text
    assert "gsk_of" not in (hosted.home / "serve.log").read_text()


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_upstream_refuses_keeps_its_status_and_message(groq: Groq, upstream: Upstream, status: int) -> None:
    upstream.script(error(status, "n must be at most 1"))
    with pytest.raises(groq_sdk.APIStatusError, match="n must be at most 1") as refused:
        groq.chat.completions.create(model="llama", messages=HELLO, n=2)

    assert refused.value.status_code == status


@pytest.mark.parametrize("broken", [b"<html>", b"[]", b'{"choices": 5}', b'{"choices": []}', b""])
def test_what_is_no_completion_is_a_bad_gateway(hosted_client: OpenAI, upstream: Upstream, broken: bytes) -> None:
    upstream.script(Reply(pieces=[broken] if broken else []))
    with pytest.raises(openai.InternalServerError) as failed:
        hosted_client.chat.completions.create(model="llama", messages=HELLO)

    assert failed.value.status_code == 502


@pytest.mark.parametrize(
    "reply",
    [
        stream("Half of", then="cut"),
        Reply(headers=SSE, pieces=[chunk({"content": "Half of"})]),
        Reply(headers=SSE, pieces=[chunk({"content": "Half of"}), b"data: {broken\n\n"]),
        Reply(headers=SSE, pieces=[chunk({"content": "Half of"}), b'data: {"error": {"message": "No GPU"}}\n\n']),
    ],
    ids=["cut", "ended early", "malformed", "reported"],
)
def test_a_failure_in_mid_stream_ends_the_stream_with_an_error(
    hosted: Server, hosted_client: OpenAI, groq: Groq, upstream: Upstream, reply: Reply
) -> None:
    upstream.script(reply, reply, reply)
    body = {"model": "llama", "messages": HELLO, "stream": True}
    raw = httpx.post(f"{hosted.base_url}/chat/completions", json=body)
    assert raw.status_code == 200
    *_, last, empty = raw.text.split("\n\n")
    assert (json.loads(last.removeprefix("data: ")).keys(), empty) == ({"error"}, "")

    clients: list[tuple[Any, type[Exception]]] = [(hosted_client, openai.APIError), (groq, groq_sdk.APIError)]
    for client, raised in clients:
        heard = []
        with pytest.raises(raised):
            for part in client.chat.completions.create(model="llama", messages=HELLO, stream=True):
                heard.append(part)
        assert content_of(heard) == "Half of"


def test_a_client_that_goes_away_closes_the_upstream(hosted: Server, hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(stream("Once upon", then="hang"))
    chunks = hosted_client.chat.completions.create(model="llama", messages=HELLO, stream=True)
    assert content_of([next(chunks), next(chunks)]) == "Once upon"
    chunks.response.close()
    assert upstream.client_gone.wait(10)

    for streaming in (False, True):
        upstream.script(Reply(then="hang"))
        body = {"model": "llama", "messages": HELLO, "stream": streaming}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{hosted.base_url}/chat/completions", json=body, timeout=0.5)
        assert upstream.client_gone.wait(10)


def test_two_clients_are_answered_at_once(hosted: Server, upstream: Upstream) -> None:
    """Neither reply begins before both requests have come."""
    upstream.script(Reply(pieces=completion("a").pieces, after=2), Reply(pieces=completion("b").pieces, after=2))

    def say(_: int) -> str | None:
        with hosted.client() as client:
            return client.chat.completions.create(model="llama", messages=HELLO).choices[0].message.content

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(say, range(2))) == ["a", "b"]


WRITTEN = f"{ANSWER} [1] They taste of the sea [2]. [9]"
SENT = f"{ANSWER} [1] They taste of the sea."


def test_marks_are_checked_and_cited(hosted_client: OpenAI, handbook: str, upstream: Upstream) -> None:
    upstream.script(completion(WRITTEN))
    answer = hosted_client.chat.completions.create(
        model="writer", messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
    ).to_dict()
    message = answer["choices"][0]["message"]

    assert message["content"] == SENT
    assert [one["file_citation"]["quote"] for one in message["annotations"]] == [ANSWER.removesuffix(".")]
    check_citations(message["content"], [one["file_citation"] for one in message["annotations"]])
    assert (answer["model"], answer["loam"]["answered"]) == ("llama", True)
    own, sources, question = upstream.received[0].body["messages"]
    assert (own["content"], sources["role"], question["content"]) == ("Be kind.", "system", QUESTION)
    assert ANSWER in sources["content"]
    assert "file_search" not in upstream.received[0].body


@pytest.mark.parametrize("cut_every", [1, 5, 1 << 16])
def test_a_grounded_stream_equals_the_whole(
    hosted_client: OpenAI, handbook: str, upstream: Upstream, cut_every: int
) -> None:
    upstream.script(completion(WRITTEN), stream(*WRITTEN, cut_every=cut_every))
    turn: dict[str, Any] = {"model": "writer", "messages": [{"role": "user", "content": QUESTION}]}
    whole = hosted_client.chat.completions.create(**turn).to_dict()["choices"][0]["message"]
    chunks = [part.to_dict() for part in hosted_client.chat.completions.create(**turn, stream=True)]

    deltas = [part["choices"][0]["delta"] for part in chunks if part["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == whole["content"]
    [annotated] = [delta for delta in deltas if "annotations" in delta]
    assert annotated["annotations"] == whole["annotations"]
    assert [part["loam"]["answered"] for part in chunks if "loam" in part] == [True]


def test_a_refusal_is_not_an_answer(hosted_client: OpenAI, handbook: str, upstream: Upstream) -> None:
    upstream.script(completion(REFUSAL))
    answer = hosted_client.chat.completions.create(
        model="writer", messages=[{"role": "user", "content": QUESTION}]
    ).to_dict()

    assert (answer["choices"][0]["message"]["annotations"], answer["loam"]["answered"]) == ([], False)


def test_a_follow_up_is_rewritten_by_the_engine(hosted_client: OpenAI, handbook: str, upstream: Upstream) -> None:
    upstream.script(completion("How much sun do tomatoes need?"), completion("Six hours of sun a day [1]."))
    turns: list[Any] = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": "And sun?"},
    ]
    answer = hosted_client.chat.completions.create(model="writer", messages=turns)

    assert answer.choices[0].message.content == "Six hours of sun a day [1]."
    rewriting, answering = upstream.received
    assert "And sun?" in rewriting.body["messages"][0]["content"]
    assert [turn["content"] for turn in answering.body["messages"][1:]] == [turn["content"] for turn in turns]


def test_with_nothing_found_no_model_is_left_to_guess(hosted_client: OpenAI, upstream: Upstream) -> None:
    empty = hosted_client.vector_stores.create(name="empty").id
    answer = hosted_client.chat.completions.create(
        model="llama",
        messages=[{"role": "user", "content": QUESTION}],
        extra_body={"file_search": {"vector_store_ids": [empty]}},
    )

    assert (answer.choices[0].message.content, answer.model) == (REFUSAL, "extractive")
    assert upstream.received == []


def test_aliases_bind_stores_by_name(hosted_client: OpenAI, handbook: str) -> None:
    turn: list[Any] = [{"role": "user", "content": QUESTION}]
    answer = hosted_client.chat.completions.create(model="gardener", messages=turn)
    assert ANSWER in (answer.choices[0].message.content or "")

    with pytest.raises(openai.NotFoundError, match="no-such-store"):
        hosted_client.chat.completions.create(model="lost", messages=turn)


def test_groq_is_off_without_a_key(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="set GROQ_API_KEY"):
        client.chat.completions.create(model="groq/llama-3.3-70b-versatile", messages=HELLO)


def test_a_question_is_decomposed_by_the_model_that_answers(
    hosted_client: OpenAI, upstream: Upstream, handbook: str
) -> None:
    parts = "When are tomatoes planted?\nWhat is loam made of?"
    upstream.script(completion(parts), stream("They are planted in May [1]."))
    answer = hosted_client.responses.create(
        model="llama",
        input="Tomatoes' planting time, loam's ingredients?",
        tools=[{"type": "file_search", "vector_store_ids": [handbook], "decompose": True}],  # type: ignore[list-item]
    )

    asked, written = upstream.received
    assert "Tomatoes' planting time" in asked.body["messages"][0]["content"]
    sources = written.body["messages"][0]["content"]
    assert '<source number="1" file="planting.md"' in sources and '<source number="2" file="soil.md"' in sources
    queries = answer.output[0].to_dict()["queries"]
    assert queries == [*parts.splitlines(), "Tomatoes' planting time, loam's ingredients?"]


def test_a_query_is_rewritten_by_the_model_for_it(hosted_client: OpenAI, upstream: Upstream, handbook: str) -> None:
    upstream.script(completion("tomatoes planting month"), error(400, "No"))
    search = hosted_client.vector_stores.search
    page = search(handbook, query="When do those red things go out?", rewrite_query=True)
    assert (page.search_query, page.data[0].filename) == (["tomatoes planting month"], "planting.md")

    assert search(handbook, query="Tell me about clay?", rewrite_query=True).search_query == ["clay"]
