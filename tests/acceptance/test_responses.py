"""Responses through the official SDK: as JSON, as events, kept and continued."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.acceptance.handbook import ANSWER, QUESTION, REFUSAL, TEXTS, UNANSWERED, check_citations
from tests.acceptance.serving import Server
from tests.fakes.upstream import SSE, Reply, Upstream, chunk, error, stream

pytestmark = pytest.mark.acceptance


def search(store: str, **options: Any) -> Any:
    return {"type": "file_search", "vector_store_ids": [store], **options}


def ask(client: OpenAI, handbook: str, question: Any, **options: Any) -> Response:
    return client.responses.create(model="default", input=question, tools=[search(handbook)], **options)


def test_a_response_cites_its_documents(client: OpenAI, own_handbook: str) -> None:
    response = ask(client, own_handbook, QUESTION, include=["file_search_call.results"], metadata={"a": "b"})
    call, message = [item.to_dict() for item in response.output]
    part = message["content"][0]

    assert ANSWER in response.output_text
    assert (response.status, response.model, response.metadata) == ("completed", "extractive", {"a": "b"})
    assert (call["type"], call["status"], call["queries"]) == ("file_search_call", "completed", [QUESTION])
    assert {one["filename"] for one in call["results"]} == set(TEXTS)
    assert {one["type"] for one in part["annotations"]} == {"file_citation"}
    check_citations(part["text"], part["annotations"])
    assert response.to_dict()["loam"]["answered"] is True
    assert response.usage is not None and response.usage.total_tokens > 0


def test_a_question_for_two_things_can_be_searched_for_one_by_one(client: OpenAI, own_handbook: str) -> None:
    question = "When are tomatoes planted and what is loam made of?"
    response = client.responses.create(model="default", input=question, tools=[search(own_handbook, decompose=True)])
    call = response.output[0].to_dict()

    assert call["queries"] == ["When are tomatoes planted?", "what is loam made of?", question]
    assert response.to_dict()["loam"]["answered"] is True


def test_the_events_come_in_openai_s_order_and_add_up(client: OpenAI, own_handbook: str) -> None:
    whole = ask(client, own_handbook, QUESTION)
    with client.responses.stream(model="default", input=QUESTION, tools=[search(own_handbook)]) as events:
        heard = list(events)
        final = events.get_final_response()

    kinds = [event.type.removeprefix("response.") for event in heard]
    once = [kind for place, kind in enumerate(kinds) if kind != kinds[place - 1]]
    assert once == [
        "created",
        "in_progress",
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in heard] == list(range(len(heard)))
    assert final.output_text == whole.output_text
    assert (
        final.output[1].to_dict()["content"][0]["annotations"] == whole.output[1].to_dict()["content"][0]["annotations"]
    )


def test_what_the_documents_do_not_say_is_not_answered(client: OpenAI, own_handbook: str) -> None:
    response = ask(client, own_handbook, UNANSWERED)

    assert response.output_text == REFUSAL
    assert response.to_dict()["loam"]["answered"] is False


def test_a_response_follows_another(client: OpenAI, own_handbook: str) -> None:
    first = ask(client, own_handbook, [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}])
    second = ask(client, own_handbook, "How much sun do they need?", previous_response_id=first.id)

    assert "six hours of sun" in second.output_text
    assert second.previous_response_id == first.id


def test_a_response_is_kept_until_it_is_deleted(client: OpenAI, own_handbook: str) -> None:
    made = ask(client, own_handbook, QUESTION)
    assert client.responses.retrieve(made.id) == made
    [item] = client.responses.input_items.list(made.id).data
    assert item.to_dict()["content"] == [{"type": "input_text", "text": QUESTION}]

    client.responses.delete(made.id)
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match=made.id):
            gone(made.id)
    with pytest.raises(openai.BadRequestError) as unknown:
        ask(client, own_handbook, "And then?", previous_response_id=made.id)
    assert unknown.value.code == "previous_response_not_found"


def test_what_is_not_to_be_stored_is_not(client: OpenAI, own_handbook: str) -> None:
    made = ask(client, own_handbook, QUESTION, store=False)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_input_items_are_paged(client: OpenAI) -> None:
    turns: Any = [{"role": role, "content": f"{n}"} for n, role in enumerate(["user", "assistant", "user"])]
    made = client.responses.create(model="default", input=turns)

    listed = list(client.responses.input_items.list(made.id, order="asc", limit=1))
    assert [item.to_dict()["content"][0]["text"] for item in listed] == ["0", "1", "2"]


def test_a_finished_response_cannot_be_cancelled(client: OpenAI) -> None:
    made = client.responses.create(model="default", input="Hello")

    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(made.id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].file_search.vector_store_ids"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, "tools"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"temperature": "hot"}, "temperature"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(server: Server, body: dict[str, Any], param: str) -> None:
    response = httpx.post(f"{server.base_url}/responses", json={"model": "default", "input": "Hello", **body})

    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


def test_hosted_text_is_checked_and_counted(hosted_client: OpenAI, handbook: str, upstream: Upstream) -> None:
    upstream.script(stream(f"{ANSWER} [1] [7]", cut_every=3))
    response = hosted_client.responses.create(
        model="writer", input=QUESTION, instructions="Be kind.", temperature=0.5, max_output_tokens=50
    )

    assert response.output_text == f"{ANSWER} [1]"
    assert response.usage is not None and response.usage.total_tokens == 8
    sent = upstream.received[0].body
    assert (sent["temperature"], sent["max_completion_tokens"], sent["messages"][0]["content"]) == (0.5, 50, "Be kind.")


def test_functions_pass_both_ways(hosted_client: OpenAI, upstream: Upstream) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": '{"city": '}}
    rest = {"index": 0, "function": {"arguments": '"Ur"}'}}
    pieces = [chunk({"tool_calls": [call]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls")]
    upstream.script(Reply(headers=SSE, pieces=pieces), stream("Sunny"))
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    first = hosted_client.responses.create(model="llama", input="Weather in Ur?", tools=[tool])
    [asked] = first.output
    output: Any = [{"type": "function_call_output", "call_id": "call_1", "output": "sun"}]
    second = hosted_client.responses.create(model="llama", input=output, previous_response_id=first.id, tools=[tool])

    assert asked.to_dict() | {"id": ""} == {
        "id": "",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Ur"}',
    }
    assert second.output_text == "Sunny"
    question, calling, result = upstream.received[1].body["messages"]
    assert (question["content"], calling["tool_calls"][0]["function"]["name"]) == ("Weather in Ur?", "weather")
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "sun"}
    assert upstream.received[0].body["tools"][0]["function"]["name"] == "weather"


def test_a_limit_makes_a_response_incomplete(client: OpenAI, own_handbook: str) -> None:
    response = ask(client, own_handbook, QUESTION, max_output_tokens=3)

    assert (response.status, response.output_text) == ("incomplete", "Tomatoes are planted")
    assert response.incomplete_details and response.incomplete_details.reason == "max_output_tokens"


def test_a_failure_in_mid_stream_is_an_error_event(hosted: Server, hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(stream("Half", then="cut"), stream("Half", then="cut"), stream("Half", then="cut"))
    body = {"model": "llama", "input": "Hello", "stream": True}
    *_, last, empty = httpx.post(f"{hosted.base_url}/responses", json=body).text.split("\n\n")
    kind, data = last.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert (kind, event["type"], event["code"], empty) == ("event: error", "error", "upstream_interrupted", "")
    assert event["error"]["message"] == event["message"]

    with pytest.raises(openai.APIError, match="broke"):
        list(hosted_client.responses.create(model="llama", input="Hello", stream=True))
    with pytest.raises(openai.InternalServerError):
        hosted_client.responses.create(model="llama", input="Hello")


def test_an_early_failure_has_its_own_status(hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(error(400, "No such model"))
    with pytest.raises(openai.BadRequestError, match="No such model"):
        hosted_client.responses.create(model="llama", input="Hello", stream=True)


def test_a_client_that_goes_away_closes_the_upstream(hosted_client: OpenAI, upstream: Upstream) -> None:
    upstream.script(stream("Once", then="hang"))
    events = hosted_client.responses.create(model="llama", input="Hello", stream=True)
    assert next(events).type == "response.created"
    events.response.close()

    assert upstream.client_gone.wait(10)
