"""ShareGPT's messages, `{"from", "value"}`, as turns."""

import json

from finetune.data.formats.conversation import Conversation
from finetune.data.formats.fields import check_text, read_weight
from finetune.data.formats.row import Row
from finetune.data.formats.tools import parsed
from finetune.types import ToolCall, Turn
from prompts import Role

_ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}
_KEYS = frozenset(("from", "value", "weight", "loss_weight"))


def sharegpt_turn(message: Row, conversation: Conversation) -> Turn | None:
    """Read one message of a conversation; None if its sender is not known, which is noted."""
    message.only(_KEYS)
    name, text = message.needed_text("from"), message.needed_text("value")
    if name not in _ROLES:
        if isinstance(message.value["from"], str):
            message.note("unknown_role", message.at("from"), f"is {name[:40]!r}")
        return None
    role = _ROLES[name]
    trained = read_weight(message, role)
    if name == "function_call":
        calls = _called(message, text, first=conversation.calls)
        return Turn(role=role, trained=trained, tool_calls=calls)
    # ShareGPT has no ids, only order: an answer is one to the oldest call that has none.
    answered = conversation.open_calls.popleft() if role == "tool" and conversation.open_calls else None
    check_text(message, "value", text, role)
    return Turn(role=role, content=text, trained=trained, tool_call_id=answered)


def _called(message: Row, text: str, *, first: int) -> tuple[ToolCall, ...]:
    value = parsed(text)
    calls = value if isinstance(value, list) else [value]
    read = []
    for number, call in enumerate(calls, start=first):
        arguments = call.get("arguments") if isinstance(call, dict) else None
        if isinstance(arguments, str):
            arguments = parsed(arguments)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not isinstance(arguments, dict):
            message.note("tool_call", message.at("value"), 'is not the JSON of {"name", "arguments"}')
            return ()
        read.append(ToolCall(id=f"call_{number}", name=call["name"], arguments=json.dumps(arguments)))
    return tuple(read)
