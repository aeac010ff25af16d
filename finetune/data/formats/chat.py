"""OpenAI's chat messages, `{"role", "content"}`, as turns."""

from typing import get_args

from finetune.data.decode import described
from finetune.data.formats.fields import check_text, read_weight
from finetune.data.formats.row import Row
from finetune.data.formats.tools import read_tool_calls
from finetune.types import Turn
from prompts import Role

_ROLES = frozenset(get_args(Role))
_KEYS = frozenset(
    (
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "weight",
        "loss_weight",
        "refusal",
        "function_call",
        "audio",
    )
)
_NOTED = (
    ("function_call", "function_call", "is the old form of tool_calls"),
    ("audio", "media", "is sound, and only text is trained"),
    ("name", "ignored_name", "is left out by most chat templates"),
)


def chat_turn(message: Row) -> Turn | None:
    """Read one message; None if it has no known role or no content, which is noted."""
    message.only(_KEYS)
    role = message.needed_text("role")
    if "role" not in message.value or not isinstance(message.value["role"], str):
        return None
    if role not in _ROLES:
        code = "function_call" if role == "function" else "unknown_role"
        message.note(code, message.at("role"), f"is {role[:40]!r}")
        return None
    for key, code, reason in _NOTED:
        if message.has(key):
            message.note(code, message.at(key), reason)
    content = _content(message, role)
    if content is None:
        return None
    return Turn(
        role=role,  # type: ignore[arg-type]  # it is one of _ROLES
        content=content,
        trained=read_weight(message, role),
        tool_calls=read_tool_calls(message, role),
        tool_call_id=message.text("tool_call_id") or None,
        name=message.text("name") or None,
    )


def _content(message: Row, role: str) -> str | None:
    key = "content"
    value = message.value.get(key)
    if isinstance(value, str):
        check_text(message, key, value, role)
        return value
    if value is not None:
        return _joined(message, value)
    if role == "assistant" and message.has("refusal"):
        return message.text("refusal")
    if role == "assistant" and (message.has("tool_calls") or message.has("function_call")):
        return ""
    if key not in message.value:
        message.missing(key)
    else:
        without = " and it calls no tool" if role == "assistant" else ""
        message.note("missing_content", message.at(key), f"is null{without}")
    return None


def _joined(message: Row, parts: object) -> str:
    path = message.at("content")
    if not isinstance(parts, list):
        message.note("wrong_type", path, f"is {described(parts)}, not a string or a list of parts")
        return ""
    if not parts:
        message.note("empty_list", path, "is an empty list")
    return "".join(_part(message, part, f"{path}[{index}]") for index, part in enumerate(parts))


def _part(message: Row, part: object, path: str) -> str:
    row = message.under(part, path)
    if row is None:
        return ""
    kind = row.needed_text("type")
    if kind not in ("text", "refusal"):
        if kind:
            row.note("media", path, f"is a part of type {kind[:40]!r}")
        return ""
    # LLaMA-Factory writes the text of a part as its value.
    key = "value" if kind == "text" and "value" in row.value else kind
    row.only(frozenset(("type", key)))
    text = row.needed_text(key)
    if isinstance(row.value.get(key), str):
        check_text(row, key, text, "")
    return text
