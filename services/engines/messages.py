"""Messages of the wire as chat templates, and training, know them."""

import json
from collections.abc import Mapping
from typing import Any

from services.errors import BadRequest


def plain_message(message: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Give a message as training has it: its text in one piece, arguments of calls parsed. Raises BadRequest."""
    known = {name: message[name] for name in ("role", "name", "tool_call_id") if message.get(name) is not None}
    calls = [_call(call, place) for call in message.get("tool_calls") or ()]
    content = _text(message, place)
    if content or not calls:
        known["content"] = content
    return {**known, "tool_calls": calls} if calls else known


def _text(message: Mapping[str, Any], place: int) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = []
    for part in content or ():
        if part.get("type") not in ("text", "refusal"):
            raise BadRequest(
                f"Models here read text only, not {part.get('type')!r}.",
                param=f"messages[{place}].content",
                code="unsupported_content",
            )
        texts.append(part.get(part["type"]) or "")
    return "".join(texts) or str(message.get("refusal") or "")


def _call(call: Any, place: int) -> dict[str, Any]:
    try:
        function = call["function"]
        arguments = json.loads(function["arguments"])
        if not isinstance(arguments, dict):
            raise ValueError("not an object")
        return {
            "id": call.get("id"),
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise BadRequest(
            f"A call in messages[{place}] must have a function with a name and arguments that are a JSON object.",
            param=f"messages[{place}].tool_calls",
            code="invalid_value",
        ) from exc
