from typing import Any

import pytest

from services.api.responses.items import input_items, messages_of
from services.errors import BadRequest


def said(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return messages_of(input_items(items))


def test_a_text_is_what_the_user_says() -> None:
    [item] = input_items("Hello")

    assert item["content"] == [{"type": "input_text", "text": "Hello"}]
    assert messages_of([item]) == [{"role": "user", "content": "Hello"}]


def test_texts_are_joined_and_pictures_stay_parts() -> None:
    picture = {"type": "input_image", "image_url": "http://x/y.png"}
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]

    assert said({"role": "user", "content": parts}) == [{"role": "user", "content": "a\nb"}]
    [message] = said({"role": "user", "content": [parts[0], picture]})
    assert message["content"][1] == {"type": "image_url", "image_url": {"url": "http://x/y.png", "detail": "auto"}}


def test_calls_of_one_turn_are_one_message() -> None:
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"} for n in (1, 2)]
    outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "ok"} for n in (1, 2)]
    asked, *answered = said(*calls, *outputs)

    assert [call["id"] for call in asked["tool_calls"]] == ["c1", "c2"]
    assert [(one["role"], one["tool_call_id"]) for one in answered] == [("tool", "c1"), ("tool", "c2")]


def test_searches_and_reasoning_are_passed_over() -> None:
    assert said({"type": "file_search_call", "id": "fs_1"}, {"type": "reasoning", "id": "rs_1"}) == []


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "computer_call"}, "input[0].type"),
        ({"role": "robot", "content": "x"}, "input[0].role"),
        ({"role": ["user"], "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": []}, "input[0].content"),
        ({"role": "user", "content": ["x"]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_text", "text": 5}]}, "input[0].content[0]"),
        ({"type": "function_call_output", "call_id": "c"}, "input[0].output"),
        ({"role": "user", "content": "\ud800"}, "input"),
    ],
)
def test_what_no_engine_understands_is_refused_by_place(item: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        said(item)

    assert refused.value.param == param
