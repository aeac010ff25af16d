"""Chat completions from documents, with nothing but the embedded engine, through the official SDK."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.acceptance.handbook import ANSWER, QUESTION, REFUSAL, UNANSWERED, check_citations
from tests.acceptance.serving import Server

pytestmark = pytest.mark.acceptance


def ask(client: OpenAI, store: str, question: str, **options: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": question}]
    search = {"file_search": {"vector_store_ids": [store]}}
    return client.chat.completions.create(model="default", messages=messages, extra_body=search, **options)


def cited(message: Any) -> list[dict[str, Any]]:
    return [one["file_citation"] for one in message.to_dict()["annotations"]]


def test_an_answer_quotes_the_documents_and_says_where(client: OpenAI, own_handbook: str) -> None:
    completion = ask(client, own_handbook, QUESTION)
    message = completion.choices[0].message

    assert ANSWER in (message.content or "")
    assert [one["filename"] for one in cited(message)] == ["planting.md"]
    check_citations(message.content or "", cited(message))
    loam = completion.to_dict()["loam"]
    assert (completion.model, loam["answered"], loam["engine"]) == ("extractive", True, "extractive")
    assert {"condense", "search", "prompt", "generate"} <= loam["timings_ms"].keys()


def test_a_stream_says_the_same_and_cites_with_its_last_content(client: OpenAI, own_handbook: str) -> None:
    whole = ask(client, own_handbook, QUESTION)
    chunks = [chunk.to_dict() for chunk in ask(client, own_handbook, QUESTION, stream=True)]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]

    assert "".join(delta.get("content") or "" for delta in deltas) == whole.choices[0].message.content
    last = max(place for place, delta in enumerate(deltas) if delta.get("content"))
    assert deltas[last]["annotations"] == whole.choices[0].message.to_dict()["annotations"]
    assert chunks[last]["loam"]["answered"] is True
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_what_the_documents_do_not_say_is_not_answered(client: OpenAI, own_handbook: str) -> None:
    completion = ask(client, own_handbook, UNANSWERED)

    assert completion.choices[0].message.content == REFUSAL
    assert cited(completion.choices[0].message) == []
    assert completion.to_dict()["loam"]["answered"] is False


def test_without_documents_it_says_how_to_name_them(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="extractive", messages=[{"role": "user", "content": "Hello"}])

    assert "vector_store_ids" in (completion.choices[0].message.content or "")
    assert completion.to_dict()["loam"]["answered"] is False


def test_a_follow_up_is_understood_from_the_conversation(client: OpenAI, own_handbook: str) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": "How much sun do they need?"},
    ]
    search = {"file_search": {"vector_store_ids": [own_handbook]}}
    completion = client.chat.completions.create(model="default", messages=messages, extra_body=search)

    assert "six hours of sun" in (completion.choices[0].message.content or "")


def test_n_stop_and_limits_are_honoured(client: OpenAI, own_handbook: str) -> None:
    twice = ask(client, own_handbook, QUESTION, n=2)
    stopped = ask(client, own_handbook, QUESTION, stop=[" May", "frost"])
    short = ask(client, own_handbook, QUESTION, max_tokens=3)

    assert [choice.index for choice in twice.choices] == [0, 1]
    assert twice.choices[0].message == twice.choices[1].message
    assert stopped.choices[0].message.content == "Tomatoes are planted in the middle of"
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("Tomatoes are planted", "length")
    assert (short.usage and short.usage.completion_tokens) == 3


def test_usage_comes_last_in_a_stream_when_asked_for(client: OpenAI, own_handbook: str) -> None:
    whole = ask(client, own_handbook, QUESTION)
    *chunks, last = ask(client, own_handbook, QUESTION, stream=True, stream_options={"include_usage": True})

    assert (last.choices, last.usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("logit_bias", {"1": 5}),
        ("no_such_field", 1),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(client: OpenAI, param: str, value: object) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "Hello"}], extra_body={param: value}
        )

    assert refused.value.param == param
    assert param in refused.value.message


def test_what_changes_nothing_is_taken(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="default",
        messages=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hello", "name": "Ada"}],
        temperature=0,
        top_p=0.5,
        seed=7,
        user="ada",
        metadata={"a": "b"},
        store=False,
        response_format={"type": "text"},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="none",
    )

    assert completion.choices[0].finish_reason == "stop"


HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HELLO}, "model"),
        ({"model": "default"}, "messages"),
        ({"model": "default", "messages": []}, "messages"),
        ({"model": "default", "messages": HELLO, "n": 0}, "n"),
        ({"model": "default", "messages": HELLO, "n": "2"}, "n"),
        ({"model": "default", "messages": HELLO, "temperature": 3}, "temperature"),
        ({"model": "default", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"model": "default", "messages": HELLO, "stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"model": "default", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "default", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": "default", "messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"model": "default", "messages": [{"role": "user"}]}, "messages[0]"),
        ({"model": "default", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"model": "default", "messages": HELLO, "stream_options": {}}, None),
        ({"model": "default", "messages": HELLO, "file_search": {}}, "file_search.vector_store_ids"),
        ({"model": "default", "messages": HELLO, "file_search": {"vector_store_ids": ["a"], "x": 1}}, "file_search.x"),
    ],
)
def test_a_malformed_request_is_refused_in_openai_s_shape(server: Server, body: Any, param: str | None) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{server.base_url}/chat/completions", content=json.dumps(body), headers=headers)

    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(model="gpt-none", messages=[{"role": "user", "content": "Hello"}])

    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert "gpt-none" in missing.value.message


def test_an_unknown_store_is_not_found_by_name(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="vs_none"):
        ask(client, "vs_none", QUESTION)


def test_filters_and_thresholds_narrow_what_is_searched(client: OpenAI, own_handbook: str) -> None:
    search = {"vector_store_ids": [own_handbook], "ranking_options": {"score_threshold": 1.0}}
    completion = client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": QUESTION}], extra_body={"file_search": search}
    )
    assert completion.choices[0].message.content == REFUSAL

    search = {"vector_store_ids": [own_handbook], "filters": {"type": "like", "key": "a", "value": "b"}}
    with pytest.raises(BadRequestError, match="filters"):
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": QUESTION}], extra_body={"file_search": search}
        )


def test_many_clients_get_their_own_answers(server: Server, own_handbook: str) -> None:
    questions = [QUESTION, "How long does clay hold water?"] * 4

    def answer(question: str) -> str:
        with server.client() as client:
            return ask(client, own_handbook, question).choices[0].message.content or ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, questions))
    assert all(("May" in text) == (question == QUESTION) for question, text in zip(questions, answers, strict=True))
    assert all(("weeks" in text) == (question != QUESTION) for question, text in zip(questions, answers, strict=True))
