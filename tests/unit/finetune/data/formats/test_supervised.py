"""Conversations to imitate: what is wrong with their messages, their order, weights and tools."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune.types import Example, Supervised

Reader = Callable[[dict[str, Any]], tuple[Example, list[tuple[str, str]]]]

USER = {"role": "user", "content": "Add 1 and 2."}
ANSWER = {"role": "assistant", "content": "3"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, CALLING, RESULT, ANSWER], []),
        ([USER, CALLING], []),
        ([USER], [("last_not_assistant", "messages[0]"), ("nothing_trained", "messages")]),
        ([ANSWER, USER], [("assistant_first", "messages[0]"), ("last_not_assistant", "messages[1]")]),
        ([USER, USER, ANSWER], [("role_repeated", "messages[1]")]),
        ([USER, ANSWER, ANSWER], [("role_repeated", "messages[2]")]),
        ([USER, {"role": "system", "content": "x"}, ANSWER], [("system_late", "messages[1]")]),
        ([USER, RESULT, ANSWER], [("tool_unasked", "messages[1]")]),
        (
            [USER, CALLING, {**RESULT, "tool_call_id": "other"}, ANSWER],
            [("tool_unasked", "messages[2]"), ("tool_unanswered", "messages[1].tool_calls")],
        ),
        ([USER, CALLING, USER, ANSWER], [("tool_unanswered", "messages[1].tool_calls")]),
        ([USER, {**ANSWER, "weight": 0}], [("nothing_trained", "messages")]),
        ([USER, {**ANSWER, "weight": 0.5}], [("weight", "messages[1].weight")]),
        ([USER, {**ANSWER, "weight": True}], [("weight", "messages[1].weight")]),
        ([{**USER, "weight": 1}, ANSWER], [("weight", "messages[0].weight")]),
        ([{**USER, "weight": 0}, ANSWER], [("ignored_weight", "messages[0].weight")]),
        ([{**USER, "loss_weight": 0.0}, {**ANSWER, "loss_weight": 1.0}], []),
        ([USER, {**ANSWER, "content": " "}], [("empty_target", "messages[1]")]),
        ([USER, {**ANSWER, "content": "", "weight": 0}, USER, ANSWER], [("empty_content", "messages[1]")]),
        ([{**USER, "content": ""}, ANSWER], [("empty_content", "messages[0].content")]),
        ([{**USER, "content": None}, ANSWER], [("missing_content", "messages[0].content")]),
        ([{"role": "user"}, ANSWER], [("missing_key", "messages[0].content")]),
        (
            [USER, {"role": "assistant", "content": None}],
            [("missing_content", "messages[1].content")],
        ),
        ([{**USER, "content": 3}, ANSWER], [("wrong_type", "messages[0].content")]),
        ([{**USER, "content": "a\0b"}, ANSWER], [("nul", "messages[0].content")]),
        ([{**USER, "role": "human"}, ANSWER], [("unknown_role", "messages[0].role")]),
        ([{"content": "x"}, ANSWER], [("missing_key", "messages[0].role")]),
        ([{**USER, "role": "function"}, ANSWER], [("function_call", "messages[0].role")]),
        ([{**USER, "colour": 1}, ANSWER], [("unknown_key", "messages[0].colour")]),
        ([{**USER, "name": "ann"}, ANSWER], [("ignored_name", "messages[0].name")]),
        (["hi", ANSWER], [("wrong_type", "messages[0]")]),
        ([], [("empty_list", "messages")]),
        ("hi", [("wrong_type", "messages")]),
    ],
)
def test_each_fault_of_a_conversation_is_found_where_it_is(
    read_row: Reader, messages: object, expected: list[tuple[str, str]]
) -> None:
    assert read_row({"messages": messages, "tools": [TOOL]})[1] == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "Hi"}, []),
        ({"type": "text", "value": "Hi"}, []),
        ({"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}, [("media", "messages[0].content[0]")]),
        ({"type": "text"}, [("missing_key", "messages[0].content[0].text")]),
        ({"text": "Hi"}, [("missing_key", "messages[0].content[0].type")]),
        ("Hi", [("wrong_type", "messages[0].content[0]")]),
    ],
)
def test_parts_of_a_message_are_text_and_nothing_else(
    read_row: Reader, part: object, expected: list[tuple[str, str]]
) -> None:
    assert read_row({"messages": [{"role": "user", "content": [part]}, ANSWER]})[1] == expected


def test_parts_are_joined_and_a_refusal_is_an_answer(read_row: Reader) -> None:
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]
    example, found = read_row(
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None, "refusal": "No."}]}
    )
    assert isinstance(example, Supervised)
    assert ([turn.content for turn in example.messages], found) == (["Hi there", "No."], [])


def test_weights_say_which_answers_are_learned(read_row: Reader) -> None:
    example, _ = read_row({"messages": [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}, USER, ANSWER]})
    assert isinstance(example, Supervised)
    assert [turn.trained for turn in example.messages] == [False, False, False, True, False, True]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ({**CALL, "id": None}, "messages[1].tool_calls[0]"),
        ({"id": "call_1", "type": "function"}, "messages[1].tool_calls[0]"),
        ({**CALL, "function": {"name": "add", "arguments": "{"}}, "messages[1].tool_calls[0].function.arguments"),
        ({**CALL, "function": {"name": "add", "arguments": "[1]"}}, "messages[1].tool_calls[0].function.arguments"),
    ],
)
def test_a_call_that_is_not_well_formed_is_refused(read_row: Reader, call: dict[str, Any], field: str) -> None:
    found = read_row({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]})[1]
    assert ("tool_call", field) in found


@pytest.mark.parametrize("tools", [[TOOL], [TOOL["function"]], '[{"name": "add", "parameters": {"type": "object"}}]'])
def test_tools_are_read_with_and_without_their_wrapping(read_row: Reader, tools: object) -> None:
    example, found = read_row({"messages": [USER, ANSWER], "tools": tools})
    assert (example.tools, found) == ((TOOL,), [])


@pytest.mark.parametrize(("tools", "field"), [({"a": 1}, "tools"), ("{", "tools"), ([{"type": "web"}], "tools[0]")])
def test_tools_that_are_none_are_refused(read_row: Reader, tools: object, field: str) -> None:
    assert read_row({"messages": [USER, ANSWER], "tools": tools})[1] == [("tool", field)]


def test_sharegpt_calls_are_given_ids_and_answered_in_order(read_row: Reader) -> None:
    example, found = read_row(
        {
            "conversations": [
                {"from": "human", "value": "Add."},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "3"},
                {"from": "gpt", "value": "Three."},
            ],
            "tools": '[{"name": "add"}]',
        }
    )
    assert isinstance(example, Supervised)
    call, result = example.messages[1].tool_calls[0], example.messages[2]
    assert (call.id, call.name, call.arguments, result.tool_call_id) == ("call_0", "add", '{"a": 1}', "call_0")
    assert ([turn.trained for turn in example.messages], found) == ([False, True, False, True], [])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"from": "nobody", "value": "x"}, ("unknown_role", "conversations[0].from")),
        ({"from": "human"}, ("missing_key", "conversations[0].value")),
        ({"from": "human", "value": 3}, ("wrong_type", "conversations[0].value")),
        ({"from": "function_call", "value": "add(1)"}, ("tool_call", "conversations[0].value")),
    ],
)
def test_each_fault_of_a_sharegpt_message_is_found(
    read_row: Reader, message: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = read_row({"conversations": [message, {"from": "gpt", "value": "Hello."}]})[1]
    assert expected in found


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"instruction": "", "output": "x"}, [("empty_prompt", "instruction")]),
        ({"instruction": "a", "output": ""}, [("empty_target", "output")]),
        ({"instruction": "a", "output": "b", "history": [["c"]]}, [("wrong_type", "history[0]")]),
        ({"question": " ", "response": "x"}, [("empty_prompt", "question")]),
        ({"prompt": "a"}, [("missing_key", "completion")]),
        ({"prompt": "a", "completion": ["b"]}, [("wrong_type", "completion[0]")]),
        (
            {"prompt": [USER, ANSWER], "completion": "b"},
            [("prompt_answered", "prompt[1]"), ("role_repeated", "completion")],
        ),
    ],
)
def test_each_fault_of_a_plain_record_is_found(
    read_row: Reader, record: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert read_row(record)[1] == expected
