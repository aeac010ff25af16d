"""Between the items of a response and the messages of a chat: engines know only the latter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from services.api.chat.schemas import ChatMessage
from services.errors import BadRequest
from services.ids import FUNCTION_CALL, MESSAGE, new_id

Item = Mapping[str, Any]

_PASSED_OVER = ("file_search_call", "reasoning")
_ROLES = ("system", "developer", "user", "assistant")
_MESSAGES = TypeAdapter(list[ChatMessage])


def input_items(given: str | Sequence[Item]) -> list[dict[str, Any]]:
    """Give the input as items with ids and types, a text as a user's message."""
    items: Sequence[Item] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_identified(item) for item in items]


def messages_of(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Give the messages that items say. Raises BadRequest for an item that no engine here understands."""
    messages: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        kind = item.get("type")
        if kind == "message":
            messages.append(_message(item, f"input[{place}]"))
        elif kind == "function_call":
            _add_call(messages, item)
        elif kind == "function_call_output":
            content = _content(item.get("output"), f"input[{place}].output")
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        elif kind not in _PASSED_OVER:
            raise BadRequest(f"Input items of the type {kind!r} are not supported.", param=f"input[{place}].type")
    _check(messages)
    return messages


def _identified(item: Item) -> dict[str, Any]:
    kind = item.get("type", "message")
    prefix = MESSAGE if kind == "message" else FUNCTION_CALL
    given = {"id": item.get("id") or new_id(prefix), **item, "type": kind}
    if kind == "message":
        written = "output_text" if item.get("role") == "assistant" else "input_text"
        content = item.get("content")
        parts = [{"type": written, "text": content}] if isinstance(content, str) else content
        given |= {"content": parts, "status": item.get("status") or "completed"}
    return given


def _message(item: Item, place: str) -> dict[str, Any]:
    role = item.get("role")
    if role not in _ROLES:
        raise BadRequest(f"The role of a message is one of {', '.join(_ROLES)}, not {role!r}.", param=f"{place}.role")
    return {"role": role, "content": _content(item.get("content"), f"{place}.content")}


def _content(given: object, place: str) -> Any:
    """Give content as chat completions spell it: one text where it is nothing but texts."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not given:
        raise BadRequest("The content must be a text or a list of parts.", param=place)
    parts = [_part(part, f"{place}[{number}]") for number, part in enumerate(given)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def _part(part: object, place: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if isinstance(part, dict) and kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if isinstance(part, dict) and kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part.get("detail") or "auto"}}
    raise BadRequest(
        f"A part of the type {kind!r} is not supported here: give input_text, or input_image with an image_url.",
        param=place,
    )


def _add_call(messages: list[dict[str, Any]], item: Item) -> None:
    """Put a call with the assistant's turn that made it: several calls of one turn are one message."""
    function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
    call = {"id": item.get("call_id"), "type": "function", "function": function}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _check(messages: list[dict[str, Any]]) -> None:
    try:
        _MESSAGES.validate_python(messages)
    except ValidationError as exc:
        problem = exc.errors()[0]
        raise BadRequest(f"The input is not well formed: {problem['msg']}.", param="input") from exc
