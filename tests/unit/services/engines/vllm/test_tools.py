from pathlib import Path
from typing import Any

import pytest

from services.engines.vllm.tools import held, parsing_calls
from tests.fakes.tokenizer import MISTRAL_TEMPLATE, template_named, tiny_tokenizer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMED = {"type": "function", "function": {"name": "f"}}


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


@pytest.mark.parametrize(
    ("template", "parser"), [("qwen2_5", "hermes"), ("qwen3", "hermes"), ("llama3_1", "llama3_json")]
)
def test_the_parser_follows_from_the_chat_template(tmp_path: Path, template: str, parser: str) -> None:
    tiny_tokenizer(template_named(template)).save_pretrained(tmp_path)

    assert parsing_calls(tmp_path) == ["--enable-auto-tool-choice", "--tool-call-parser", parser]


def test_the_mark_of_calls_is_a_token_of_mistral_s(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(MISTRAL_TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]"]})
    tokenizer.save_pretrained(tmp_path)

    assert parsing_calls(tmp_path)[-1] == "mistral"


@pytest.mark.parametrize("template", ["llama3", "gptoss", "gemma4", None])
def test_where_no_parser_fits_none_is_named(tmp_path: Path, template: str | None) -> None:
    tiny_tokenizer(template_named(template) if template else None).save_pretrained(tmp_path)

    assert parsing_calls(tmp_path) == []


def test_a_folder_whose_tokenizer_cannot_be_loaded_is_vllm_s_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ tools }}"}')

    assert parsing_calls(tmp_path) == []


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("said", [{}, {"strict": False}, {"strict": True}])
def test_a_call_that_must_be_made_is_held_to_its_function_s_schema(choice: Any, said: dict[str, Any]) -> None:
    params = held({"tools": [tool(parameters=SCHEMA, **said)], "tool_choice": choice, "seed": 1})

    assert params == {"tools": [tool(parameters=SCHEMA, strict=True)], "tool_choice": choice, "seed": 1}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
    ],
)
def test_arguments_are_an_object_whatever_the_schema_leaves_open(parameters: Any, expected: Any) -> None:
    [made] = held({"tools": [tool(parameters=parameters)], "tool_choice": "required"})["tools"]

    assert made["function"]["parameters"] == expected


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [tool(parameters=SCHEMA)]},
        {"tools": [tool(parameters=SCHEMA)], "tool_choice": "auto"},
        {"tools": [tool(parameters=SCHEMA)], "tool_choice": "none"},
        {"tool_choice": "required"},
        {"tools": "f", "tool_choice": "required"},
        {"tools": ["f", {"type": "custom"}], "tool_choice": "required"},
        {},
    ],
)
def test_what_need_not_be_called_or_is_no_function_is_passed_on_as_it_is(params: dict[str, Any]) -> None:
    assert held(params) == params
