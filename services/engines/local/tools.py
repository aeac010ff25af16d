"""The functions that a model may call, read from `tools` and `tool_choice`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.engines.local.schemas import ANY_OBJECT, checked, unfit
from services.errors import BadRequest

NAME: Final = r"[A-Za-z0-9_.-]{1,64}"
MOST_FUNCTIONS: Final = 128

_NOTHING: Final[Mapping[str, Any]] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function by its name; `parameters` is the schema of its arguments, `strict` where it must be kept to."""

    name: str
    parameters: Mapping[str, Any]
    strict: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The functions that may be called; with `required` one of them must be, with `parallel` several at once."""

    functions: Sequence[Function]
    required: bool
    parallel: bool


def read_tools(params: Mapping[str, Any]) -> Tools | None:
    """Give the functions that may be called, None if there are none or none may be. Raises BadRequest."""
    given, choice = params.get("tools") or (), params.get("tool_choice") or "auto"
    if choice == "none" or (not given and choice == "auto"):
        return None
    if not given:
        raise unfit("tool_choice", "there are no tools to choose from")
    if len(given) > MOST_FUNCTIONS:
        raise unfit("tools", f"there are more than {MOST_FUNCTIONS} functions")
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(given)]
    if len({function.name for function in functions}) < len(functions):
        raise unfit("tools", "two functions have one name")
    return Tools(
        functions=_chosen(functions, choice),
        required=choice != "auto",
        parallel=params.get("parallel_tool_calls") is not False,
    )


def _chosen(functions: Sequence[Function], choice: Any) -> Sequence[Function]:
    if choice in ("auto", "required"):
        return functions
    named = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    if not isinstance(named, Mapping):
        raise unfit("tool_choice", "it must be 'none', 'auto', 'required' or name a function")
    found = [function for function in functions if function.name == named.get("name")]
    if not found:
        raise unfit("tool_choice", f"there is no function {named.get('name')!r} among the tools")
    return found


def _function(tool: Mapping[str, Any], place: str) -> Function:
    given = tool.get("function")
    if tool.get("type") != "function" or not isinstance(given, Mapping):
        raise BadRequest(
            f"The local engine calls functions only, not tools of the type {tool.get('type')!r}.",
            param=place,
            code="unsupported_parameter",
        )
    name, parameters = given.get("name"), given.get("parameters") or _NOTHING
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise unfit(f"{place}.function.name", "it must be 1 to 64 letters, digits, underscores, dots or dashes")
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise unfit(f"{place}.function.parameters", "it must be the schema of an object")
    schema = checked(parameters, f"{place}.function.parameters")
    return Function(name=name, parameters={**schema, **ANY_OBJECT}, strict=given.get("strict") is True)
