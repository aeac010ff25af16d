"""What an able model would answer, for an upstream that is to be asked by a client's own test suite.

It calls the tool that it is to call with what the question names, fills in schemas, and says a sentence otherwise.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from tests.fakes.upstream import JSON, SSE, Received, Reply

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
PIECE = 7
"""So many characters come in a chunk."""

_numbers = count(1)


def answer(request: Received) -> Reply:
    body = request.body
    call = _call(body)
    text = "" if call else _text(body)
    return (_streamed if body.get("stream") else _whole)(body, text, call)


def _call(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Call the tool that is forced, or the first that the question can be about; after its result there is no more."""
    tools, choice, last = body.get("tools") or (), body.get("tool_choice", "auto"), body["messages"][-1]
    if not tools or choice == "none" or last["role"] == "tool":
        return None
    forced = choice["function"]["name"] if isinstance(choice, Mapping) else None
    tool = next(tool["function"] for tool in tools if forced in (None, tool["function"]["name"]))
    arguments = _instance(tool["parameters"], str(last["content"]))
    call = {"name": tool["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"index": 0, "id": f"call_{next(_numbers)}", "type": "function", "function": call}


def _text(body: Mapping[str, Any]) -> str:
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_schema":
        return json.dumps(_instance(wanted["json_schema"]["schema"], ""))
    if wanted["type"] == "json_object":
        return json.dumps(dict.fromkeys(re.findall(r"'(\w+)'", str(body["messages"][-1]["content"])), "a cat"))
    return "A sentence that says hello to you."


def _instance(schema: Mapping[str, Any], asked: str) -> Any:
    """Give what a schema wants, taken from the question where it names something in quotes or as a number."""
    kind = schema.get("type")
    if kind == "object":
        return {name: _instance(known, asked) for name, known in schema.get("properties", {}).items()}
    if kind == "integer":
        return int((re.findall(r"\d+", asked) or ["1"])[0])
    if kind == "array":
        return []
    return (re.findall(r"'([^']+)'", asked) or ["a cat"])[0]


def _whole(body: Mapping[str, Any], text: str, call: dict[str, Any] | None) -> Reply:
    message = {"role": "assistant", "content": text or None, **({"tool_calls": [call]} if call else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop"}
    whole = {**_head(body, "chat.completion"), "choices": [choice], "usage": USAGE}
    return Reply(headers=JSON, pieces=[json.dumps(whole).encode()])


def _streamed(body: Mapping[str, Any], text: str, call: dict[str, Any] | None) -> Reply:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    if call:
        begun = {**call, "function": {**call["function"], "arguments": ""}}
        pieces = _pieces(call["function"]["arguments"])
        deltas += [{"tool_calls": [begun]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices += [[{"index": 0, "delta": {}, "finish_reason": "tool_calls" if call else "stop"}]]
    chunks = [{**_head(body, "chat.completion.chunk"), "choices": one} for one in choices]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks += [{**_head(body, "chat.completion.chunk"), "choices": [], "usage": USAGE}]
    said = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks]
    return Reply(headers=SSE, pieces=[*said, b"data: [DONE]\n\n"])


def _pieces(text: str) -> Sequence[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-able", "object": kind, "created": 1700000000, "model": body["model"]}
