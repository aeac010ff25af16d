"""Every format is told by its keys and read into the same kinds of example."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.data.formats.table import FORMATS, told_by
from finetune.types import Example, Preference, Retrieval, Supervised, Turn, Unpaired

SYSTEM = Turn(role="system", content="Be brief.")
ASK = Turn(role="user", content="Hi")
ANSWER = Turn(role="assistant", content="Hello.", trained=True)
WORSE = Turn(role="assistant", content="Go away.", trained=True)

ASKED = {"role": "user", "content": "Hi"}
ANSWERED = {"role": "assistant", "content": "Hello."}
WORSENED = {"role": "assistant", "content": "Go away."}
SUPERVISED = Supervised(messages=(ASK, ANSWER))
PREFERENCE = Preference(prompt=(ASK,), chosen=(ANSWER,), rejected=(WORSE,))
UNPAIRED = Unpaired(prompt=(ASK,), completion=(ANSWER,), label=True)
RETRIEVAL = Retrieval(query="Hi", passages=("Hello.",), negatives=("Go away.",))

READ: list[tuple[str, dict[str, Any], Example]] = [
    ("openai_chat", {"messages": [ASKED, ANSWERED]}, SUPERVISED),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}, SUPERVISED),
    ("alpaca", {"instruction": "Hi", "input": "", "output": "Hello."}, SUPERVISED),
    (
        "alpaca",
        {
            "instruction": "Sum up:",
            "input": "Hi",
            "output": "Hello.",
            "system": "Be brief.",
            "history": [["Hi", "Hello."]],
        },
        Supervised(messages=(SYSTEM, ASK, ANSWER, Turn(role="user", content="Sum up:\nHi"), ANSWER)),
    ),
    (
        "openorca",
        {"system_prompt": "Be brief.", "question": "Hi", "response": "Hello."},
        Supervised(messages=(SYSTEM, ASK, ANSWER)),
    ),
    ("prompt_completion", {"prompt": "Hi", "completion": "Hello."}, SUPERVISED),
    ("prompt_completion", {"prompt": [ASKED], "completion": [ANSWERED]}, SUPERVISED),
    (
        "openai_preference",
        {"input": {"messages": [ASKED]}, "preferred_output": [ANSWERED], "non_preferred_output": [WORSENED]},
        PREFERENCE,
    ),
    ("preference", {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go away."}, PREFERENCE),
    ("preference", {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [WORSENED]}, PREFERENCE),
    ("preference", {"chosen": [ASKED, ANSWERED], "rejected": [ASKED, WORSENED]}, PREFERENCE),
    ("message_pair", {"chosen_messages": [ASKED, ANSWERED], "rejected_messages": [ASKED, WORSENED]}, PREFERENCE),
    (
        "sharegpt_preference",
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello."},
            "rejected": {"from": "gpt", "value": "Go away."},
        },
        PREFERENCE,
    ),
    ("alpaca_preference", {"instruction": "Hi", "chosen": "Hello.", "rejected": "Go away."}, PREFERENCE),
    ("kto", {"prompt": "Hi", "completion": "Hello.", "label": True}, UNPAIRED),
    ("sharegpt_kto", {"messages": [ASKED, ANSWERED], "label": True}, UNPAIRED),
    (
        "sharegpt_kto",
        {
            "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}],
            "system": "Be brief.",
            "kto_tag": False,
        },
        Unpaired(prompt=(SYSTEM, ASK), completion=(ANSWER,), label=False),
    ),
    ("alpaca_kto", {"instruction": "Hi", "output": "Hello.", "kto_tag": True}, UNPAIRED),
    ("retrieval", {"query": "Hi", "passage": "Hello.", "negatives": ["Go away."]}, RETRIEVAL),
    ("anchored", {"anchor": "Hi", "positive": "Hello.", "negative": "Go away."}, RETRIEVAL),
    ("question_context", {"question": "Hi", "context": "Hello.", "neg": "Go away."}, RETRIEVAL),
]


@pytest.mark.parametrize(("name", "record", "example"), READ, ids=[name for name, _, _ in READ])
def test_every_format_is_read(
    read_row: Callable[[dict[str, Any]], tuple[Example, list[tuple[str, str]]]],
    name: str,
    record: dict[str, Any],
    example: Example,
) -> None:
    told = told_by(frozenset(record))
    assert told is not None
    assert (told.name, *read_row(record)) == (name, example, [])
    assert record.keys() <= told.keys


def test_no_format_is_without_an_example_here() -> None:
    assert {told.name for told in FORMATS} == {name for name, _, _ in READ}


@pytest.mark.parametrize("told", FORMATS, ids=lambda told: told.name)
def test_every_format_is_told_before_those_whose_marks_are_fewer(told: Any) -> None:
    assert all(told_by(mark) is told for mark in told.marks)


def test_every_format_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[5] / "finetune" / "README.md").read_text(encoding="utf-8")
    assert [told.name for told in FORMATS if f"| `{told.name}` |" not in readme] == []


def test_each_format_knows_the_methods_that_learn_from_it() -> None:
    methods = {told.name: told.methods for told in FORMATS}
    assert (methods["alpaca"], methods["preference"], methods["kto"]) == (["supervised"], ["dpo", "reward"], ["kto"])
    assert methods["retrieval"] == ["embedding"]
