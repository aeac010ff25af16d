"""What the local engine reads out of a request, and what it refuses by name."""

from typing import Any

import pytest

from services.engines.engine import ChatRequest
from services.engines.local.request import SUPPORTS, read_request
from services.engines.local.wanted import Asked
from services.errors import BadRequest

HELLO = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def read(*messages: dict[str, Any], stream: bool = False, **params: Any) -> Asked:
    return read_request(ChatRequest(messages=messages or (HELLO,), params=params), stream=stream)


def test_what_is_left_open_stays_open() -> None:
    asked = read()

    assert (asked.sampling.temperature, asked.max_tokens, asked.n, asked.stops) == (None, None, 1, ())
    assert (asked.add_generation_prompt, asked.top_logprobs, asked.prompt_logprobs) == (True, None, None)


def test_everything_is_read() -> None:
    asked = read(
        temperature=0.5, top_p=0.9, top_k=-1, min_p=0.1, seed=7, stop="x", n=2, max_tokens=3, max_completion_tokens=4,
        frequency_penalty=1, presence_penalty=-1, repetition_penalty=1.1, logit_bias={"5": -100}, logprobs=True,
        top_logprobs=2, prompt_logprobs=0, return_token_ids=True,
    )  # fmt: skip

    assert (asked.sampling.top_k, asked.sampling.logit_bias, asked.sampling.repetition_penalty) == (0, {5: -100}, 1.1)
    assert (asked.max_tokens, asked.stops, asked.n, asked.top_logprobs, asked.prompt_logprobs) == (4, ("x",), 2, 2, 0)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("top_k", 1.5),
        ("top_k", -2),
        ("top_k", True),
        ("min_p", 2),
        ("min_p", "0.1"),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("nan")),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"1": 101}),
        ("prompt_logprobs", -1),
        ("prompt_logprobs", 21),
        ("return_token_ids", 1),
        ("add_generation_prompt", None),
        ("top_logprobs", 2),
        ("tools", [TOOL, TOOL]),
        ("tool_choice", "required"),
        ("response_format", {"type": "xml"}),
        ("continue_final_message", True),
    ],
)
def test_what_means_nothing_is_refused_by_name(param: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**{param: value})

    assert refused.value.param == param


def test_logprobs_of_the_prompt_are_not_for_streams() -> None:
    with pytest.raises(BadRequest, match="prompt_logprobs"):
        read(prompt_logprobs=0, stream=True)


def test_tools_may_be_shown_but_not_called() -> None:
    asked = read(tools=[TOOL], tool_choice="none")

    assert (asked.tools, asked.calls) == ([TOOL], None)
    assert {"tools", "tool_choice", "parallel_tool_calls", "response_format"} < SUPPORTS


def test_messages_come_as_training_has_them() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    parsed = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    asked = read(
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [call], "annotations": [], "refusal": None},
        {"role": "tool", "content": "1", "tool_call_id": "c"},
        {"role": "assistant", "content": ""},
    )

    assert asked.messages == [
        {"role": "user", "name": "Ada", "content": "ab"},
        {"role": "assistant", "tool_calls": [parsed]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "messages[0].content"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]},
            "messages[0].tool_calls",
        ),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": ["f"]}, "messages[0].tool_calls"),
    ],
)
def test_a_message_that_cannot_be_rendered_is_refused_in_place(message: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(message)

    assert refused.value.param == param
