"""The tools of a training file and the calls of them."""

import json

from finetune.data.formats.row import Row
from finetune.types import Tool, ToolCall


def read_tools(row: Row, key: str = "tools") -> tuple[Tool, ...]:
    """Read the tools of a record: a list of them, or the text of one; functions without their wrapping too."""
    value = row.value.get(key)
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = parsed(value)
    if not isinstance(value, list):
        row.note("tool", row.at(key), "is not a list of tools")
        return ()
    tools = [_tool(tool) for tool in value]
    for index, tool in enumerate(tools):
        if tool is None:
            row.note("tool", f"{row.at(key)}[{index}]", "is not the description of a function")
    return tuple(tool for tool in tools if tool is not None)


def _tool(value: object) -> Tool | None:
    if not isinstance(value, dict):
        return None
    function = value.get("function") if value.get("type") == "function" else value
    named = isinstance(function, dict) and isinstance(function.get("name"), str) and function["name"]
    return {"type": "function", "function": function} if named else None


def read_tool_calls(message: Row, role: str) -> tuple[ToolCall, ...]:
    """Read the calls of an assistant's message."""
    if not message.has("tool_calls"):
        return ()
    if role != "assistant":
        message.note("tool_call", message.at("tool_calls"), f"is given for a message of role {role}")
        return ()
    calls = [_tool_call(call) for call in message.objects("tool_calls")]
    return tuple(call for call in calls if call is not None)


def _tool_call(call: Row) -> ToolCall | None:
    function = call.value.get("function")
    identity = call.value.get("id")
    name = function.get("name") if isinstance(function, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(identity, str) or not isinstance(name, str) or not isinstance(arguments, str):
        call.note("tool_call", call.path, "lacks an id, a function's name or its arguments as a text")
        return None
    if not isinstance(parsed(arguments), dict):
        call.note("tool_call", call.at("function.arguments"), "is not the JSON of an object")
        return None
    return ToolCall(id=identity, name=name, arguments=arguments)


def parsed(text: str) -> object:
    """Give what a JSON text holds, None if it is not JSON."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value
