"""Two completions of a prompt, and one with a verdict."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune.types import Example, Preference

Reader = Callable[[dict[str, Any]], tuple[Example, list[tuple[str, str]]]]

ASK = {"role": "user", "content": "Hi"}
GOOD = {"role": "assistant", "content": "Hello."}
BAD = {"role": "assistant", "content": "Go away."}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"prompt": "a", "chosen": "b"}, [("missing_key", "rejected")]),
        ({"prompt": "a", "rejected": "b"}, [("missing_key", "chosen")]),
        ({"chosen": "a", "rejected": "b"}, [("missing_key", "prompt")]),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, [("no_preference", "rejected")]),
        ({"prompt": "a", "chosen": "", "rejected": "b"}, [("empty_target", "chosen")]),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, [("empty_prompt", "prompt")]),
        ({"prompt": "a", "chosen": 1, "rejected": "b"}, [("wrong_type", "chosen")]),
        (
            {"prompt": [ASK], "chosen": [ASK], "rejected": [BAD]},
            [("role_repeated", "chosen[0]"), ("last_not_assistant", "chosen[0]")],
        ),
        (
            {"chosen": [ASK, GOOD], "rejected": [{**ASK, "content": "Yo"}, BAD]},
            [("no_common_prompt", "chosen"), ("no_common_prompt", "rejected")],
        ),
        ({"chosen": [ASK, GOOD], "rejected": [ASK, GOOD]}, [("no_preference", "rejected")]),
        ({"preferred_output": [GOOD], "non_preferred_output": [BAD]}, [("missing_key", "input")]),
        (
            {"input": {"messages": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            [("empty_list", "input.messages")],
        ),
        (
            {"input": {"messages": [ASK], "x": 1}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            [("unknown_key", "input.x")],
        ),
        ({"input": 3, "preferred_output": [GOOD], "non_preferred_output": [BAD]}, [("wrong_type", "input")]),
    ],
)
def test_each_fault_of_a_pair_is_found(
    read_row: Reader, record: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert read_row(record)[1] == expected


def test_what_two_conversations_share_is_the_prompt_and_nothing_of_it_is_learned(read_row: Reader) -> None:
    more = {"role": "user", "content": "And?"}
    example, found = read_row({"chosen": [ASK, GOOD, more, GOOD], "rejected": [ASK, GOOD, more, BAD]})
    assert isinstance(example, Preference)
    assert [turn.content for turn in example.prompt] == ["Hi", "Hello.", "And?"]
    assert ([turn.trained for turn in example.prompt], found) == ([False, False, False], [])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"prompt": "a", "completion": "b", "label": 1}, [("wrong_type", "label")]),
        ({"prompt": "a", "completion": "b", "label": None}, [("wrong_type", "label")]),
        ({"prompt": "a", "label": True}, [("missing_key", "completion")]),
        ({"messages": [ASK, GOOD], "kto_tag": "yes"}, [("wrong_type", "kto_tag")]),
        ({"messages": [GOOD], "label": True}, [("assistant_first", "messages[0]"), ("empty_prompt", "messages")]),
        (
            {"messages": [ASK], "label": True},
            [("last_not_assistant", "messages[0]"), ("nothing_trained", "messages"), ("empty_prompt", "messages")],
        ),
    ],
)
def test_each_fault_of_a_labelled_answer_is_found(
    read_row: Reader, record: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert read_row(record)[1] == expected
