"""Calls of functions by local models of several templates and tokenizers: free until a call begins, then held to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from finetune.tokenizer import load_tokenizer
from services.engines.local.models import LocalModels
from services.errors import BadRequest
from tests.fakes.local import QUESTION, Asking
from tests.fakes.tiny_model import tiny_model
from tests.fakes.tokenizer import MISTRAL_TEMPLATE, sentence_pieces, template_named, tiny_tokenizer

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}, "u": {"enum": ["é", "°F"]}},
    "required": ["n", "u"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get", "parameters": PARAMETERS, "strict": True}},
    {"type": "function", "function": {"name": "get_all", "parameters": PARAMETERS, "strict": True}},
]
HOT: dict[str, Any] = {"temperature": 1.5, "max_tokens": 800}
ROOM = 4096
MARKS = {"tagged": "<tool_call>", "bare": "", "listed": "[TOOL_CALLS]", "pieces": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Path]:
    """Models that write calls in tags, as a bare object, behind a special token, and with sentence pieces.

    All have more places for tokens than their tokenizers have tokens.
    """
    made = {name: tiny_model(folder / name, max_position_embeddings=ROOM, vocab_size=576) for name in MARKS}
    tagged: Any = tiny_tokenizer(template_named("qwen3"))
    tagged.add_tokens(["<tool_call>", "</tool_call>"])
    listed: Any = tiny_tokenizer(MISTRAL_TEMPLATE)
    listed.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]"]})
    tagged.save_pretrained(made["tagged"])
    listed.save_pretrained(made["listed"])
    tiny_tokenizer(template_named("llama3_1")).save_pretrained(made["bare"])
    sentence_pieces(template_named("qwen2_5")).save_pretrained(made["pieces"])
    return made


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    models = LocalModels(most_bases=4, most_waiting=8)
    yield Asking(models)
    models.close()


def checked(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the calls, each in order."""
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    calls: list[dict[str, Any]] = choice["message"]["tool_calls"]
    for call in calls:
        assert call["function"]["name"] in ("get", "get_all")
        jsonschema_rs.validate(PARAMETERS, json.loads(call["function"]["arguments"]))
    return calls


@pytest.mark.parametrize("name", MARKS)
def test_a_required_call_is_whole_and_goes_back_into_the_conversation(
    asking: Asking, models: dict[str, Path], name: str
) -> None:
    engine = asking.base(models[name])
    for seed in range(3):
        [choice] = asking.chat(engine, tools=TOOLS, tool_choice="required", seed=seed, **HOT)["choices"]
        calls = checked(choice)

    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in calls]
    asking.chat(engine, QUESTION, choice["message"], *results, tools=TOOLS, max_tokens=2)


@pytest.mark.parametrize("name", ["tagged", "listed"])
def test_what_begins_like_a_call_is_held_to_be_one(asking: Asking, models: dict[str, Path], name: str) -> None:
    """The mark, a token of its own, is made all but certain: it comes at once, and then only where it may."""
    engine, mark = asking.base(models[name]), MARKS[name]
    bias = {str(load_tokenizer(str(models[name])).convert_tokens_to_ids(mark)): 100}
    for seed in range(3):
        answer = asking.chat(engine, tools=TOOLS, logit_bias=bias, seed=seed, **HOT, parallel_tool_calls=False)
        [call] = checked(answer["choices"][0])
        assert call["function"]["name"] in ("get", "get_all")


def test_what_does_not_begin_like_a_call_is_free(asking: Asking, models: dict[str, Path]) -> None:
    for name in MARKS:
        free = asking.ids(asking.base(models[name]), tools=TOOLS, tool_choice="none")
        assert asking.ids(asking.base(models[name]), tools=TOOLS) == free


def test_one_call_at_a_time_where_several_are_not_wanted(asking: Asking, models: dict[str, Path]) -> None:
    engine = asking.base(models["tagged"])
    one: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
    several = 0
    for seed in range(4):
        [choice] = asking.chat(engine, seed=seed, **HOT, **one)["choices"]
        assert len(checked(choice)) == 1
        [choice] = asking.chat(engine, seed=seed, **HOT, **one | {"parallel_tool_calls": True})["choices"]
        several += choice["finish_reason"] == "tool_calls" and len(checked(choice)) > 1
    assert several


def test_an_answer_may_be_of_the_schema_or_a_call(asking: Asking, models: dict[str, Path]) -> None:
    engine = asking.base(models["bare"])
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    seen = set()
    for seed in range(12):
        [choice] = asking.chat(engine, tools=TOOLS, response_format=wanted, seed=seed, **HOT)["choices"]
        seen.add(choice["finish_reason"])
        if choice["finish_reason"] == "stop":
            assert json.loads(choice["message"]["content"]) in ("yes", "no")
        else:
            checked(choice)
    assert seen == {"stop", "tool_calls"}


def test_a_call_that_is_cut_off_says_so(asking: Asking, models: dict[str, Path]) -> None:
    engine = asking.base(models["tagged"])
    for most in range(1, 60, 7):
        params: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "temperature": 1.5, "seed": 1}
        [choice] = asking.chat(engine, **params, max_tokens=most)["choices"]
        assert choice["finish_reason"] == "length"
        assert not choice["message"]["content"]


def test_a_model_whose_template_knows_no_tools_says_so(asking: Asking, folder: Path) -> None:
    engine = asking.base(tiny_model(folder / "llama3", template="llama3"))
    for params in ({}, {"tool_choice": "required"}):
        with pytest.raises(BadRequest, match="chat template") as refused:
            asking.chat(engine, tools=TOOLS, **params)
        assert refused.value.param == "tools"


@pytest.mark.parametrize("strict", [True, False])
def test_only_a_strict_function_is_refused_for_its_schema(
    asking: Asking, models: dict[str, Path], strict: bool
) -> None:
    parameters = {"type": "object", "properties": {"a": {"enum": [1]}}, "not": {"required": ["b"]}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": strict}}
    params: dict[str, Any] = {"tools": [tool], "tool_choice": "required", **HOT, "seed": 0}
    if not strict:
        assert asking.chat(asking.base(models["tagged"]), **params)
        return
    with pytest.raises(BadRequest, match='"not"') as refused:
        asking.chat(asking.base(models["tagged"]), **params)
    assert refused.value.param == "tools"
