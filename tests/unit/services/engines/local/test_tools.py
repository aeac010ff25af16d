"""Functions that may be called, as `tools` and `tool_choice` say."""

from typing import Any

import pytest

from services.engines.local.tools import Tools, read_tools
from services.errors import BadRequest


def tool(name: Any = "f", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def read(**params: Any) -> Tools:
    tools = read_tools(params)
    assert tools is not None
    return tools


@pytest.mark.parametrize("params", [{}, {"tools": []}, {"tools": [tool()], "tool_choice": "none"}])
def test_nothing_may_be_called(params: dict[str, Any]) -> None:
    assert read_tools(params) is None


@pytest.mark.parametrize(
    ("choice", "names", "required"),
    [
        (None, ["f", "g"], False),
        ("auto", ["f", "g"], False),
        ("required", ["f", "g"], True),
        ({"type": "function", "function": {"name": "g"}}, ["g"], True),
    ],
)
def test_the_choice_says_what_may_and_what_must_be(choice: Any, names: list[str], required: bool) -> None:
    tools = read(tools=[tool("f"), tool("g")], tool_choice=choice)

    assert ([function.name for function in tools.functions], tools.required) == (names, required)


def test_a_function_without_parameters_takes_none() -> None:
    [function] = read(tools=[tool()]).functions

    assert function.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_strict_and_parallel_are_read() -> None:
    tools = read(tools=[tool(strict=True, parameters={"properties": {}})], parallel_tool_calls=False)

    assert (tools.parallel, tools.functions[0].strict) == (False, True)
    assert tools.functions[0].parameters == {"properties": {}, "type": "object"}


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [tool(), tool()]}, "tools"),
        ({"tools": [tool(f"f{number}") for number in range(129)]}, "tools"),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": "f"}]}, "tools[0]"),
        ({"tools": [tool(), tool("a b")]}, "tools[1].function.name"),
        ({"tools": [tool(None)]}, "tools[0].function.name"),
        ({"tools": [tool(parameters={"type": "array"})]}, "tools[0].function.parameters"),
        ({"tools": [tool(parameters=[1])]}, "tools[0].function.parameters"),
    ],
)
def test_what_cannot_be_called_is_refused_by_name(params: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_tools(params)

    assert refused.value.param == param
