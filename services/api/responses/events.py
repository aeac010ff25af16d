"""The events of a response, in the order in which OpenAI sends them, made from chat chunks.

The response that the last event carries is the whole one: a request without a stream is given it.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from services.ids import FILE_SEARCH_CALL, FUNCTION_CALL, MESSAGE, new_id

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

Event = dict[str, Any]


class Writing:
    """A response being written. Feed it chunks and send on the events that each gives."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.response = response
        self._sequence = 0
        self._finish_reason = "stop"
        self._message: dict[str, Any] | None = None
        self._calls: dict[int, dict[str, Any]] = {}

    def begin(self) -> Iterator[Event]:
        yield self._event("response.created", response=self._snapshot())
        yield self._event("response.in_progress", response=self._snapshot())

    def searched(self, queries: list[str], results: list[dict[str, Any]] | None) -> Iterator[Event]:
        """The documents were searched before the engine began to write."""
        call: dict[str, Any] = {"id": new_id(FILE_SEARCH_CALL), "type": "file_search_call"}
        call |= {"status": "in_progress", "queries": queries, "results": None}
        place = {"output_index": self._add(call), "item_id": call["id"]}
        yield self._event("response.output_item.added", output_index=place["output_index"], item=dict(call))
        for stage in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{stage}", **place)
        call |= {"status": "completed", "results": results}
        yield self._event("response.output_item.done", output_index=place["output_index"], item=dict(call))

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take the next chunk of the chat completion that answers."""
        if "loam" in chunk:
            self.response["loam"] = chunk["loam"]
        self._count(chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage"))
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            yield from self._text(delta.get("content") or "")
            for citation in delta.get("annotations") or ():
                yield from self._annotation({"type": citation["type"], **citation["file_citation"]})
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def end(self) -> Iterator[Event]:
        """Everything has been fed: close what is open. Afterwards `response` is whole."""
        incomplete = _INCOMPLETE.get(self._finish_reason)
        status = "incomplete" if incomplete else "completed"
        if self._message is not None:
            yield from self._message_done(self._message, status)
        for call in self._calls.values():
            yield from self._call_done(call, status)
        details = {"reason": incomplete} if incomplete else None
        self.response |= {"status": status, "incomplete_details": details, "completed_at": int(time.time())}

    def ended(self) -> Event:
        return self._event(f"response.{self.response['status']}", response=self._snapshot())

    @staticmethod
    def failed(error: Mapping[str, Any], sequence: int) -> Event:
        """Give the event of a failure; `error` beside its parts makes SDKs raise."""
        parts = {name: error[name] for name in ("code", "message", "param")}
        return {"type": "error", "sequence_number": sequence, **parts, "error": dict(error)}

    def _text(self, text: str) -> Iterator[Event]:
        if not text:
            return
        if self._message is None:
            yield from self._message_added()
        assert self._message is not None
        self._message["content"][0]["text"] += text
        yield self._event("response.output_text.delta", **self._at_text(), delta=text, logprobs=[])

    def _annotation(self, annotation: dict[str, Any]) -> Iterator[Event]:
        assert self._message is not None  # a citation stands at a mark, and the mark in the text
        annotations = self._message["content"][0]["annotations"]
        annotations.append(annotation)
        yield self._event(
            "response.output_text.annotation.added",
            **self._at_text(),
            annotation_index=len(annotations) - 1,
            annotation=annotation,
        )

    def _message_added(self) -> Iterator[Event]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        message = {"id": new_id(MESSAGE), "type": "message", "status": "in_progress", "role": "assistant"}
        index = self._add(message | {"content": []})
        yield self._event("response.output_item.added", output_index=index, item=message | {"content": []})
        self._message = self.response["output"][index]
        self._message["content"].append(part)
        yield self._event("response.content_part.added", **self._at_text(), part={**part, "annotations": []})

    def _message_done(self, message: dict[str, Any], status: str) -> Iterator[Event]:
        part = message["content"][0]
        yield self._event("response.output_text.done", **self._at_text(), text=part["text"], logprobs=[])
        yield self._event("response.content_part.done", **self._at_text(), part=part)
        message["status"] = status
        yield self._event("response.output_item.done", output_index=self._index(message), item=message)

    def _call(self, given: Mapping[str, Any]) -> Iterator[Event]:
        function = given.get("function") or {}
        index = given.get("index", len(self._calls))
        if index not in self._calls:
            call = {
                "id": new_id(FUNCTION_CALL),
                "type": "function_call",
                "status": "in_progress",
                "call_id": given.get("id") or new_id("call_"),
                "name": function.get("name") or "",
                "arguments": "",
            }
            self._calls[index] = call
            yield self._event("response.output_item.added", output_index=self._add(call), item=dict(call))
        call = self._calls[index]
        if arguments := function.get("arguments"):
            call["arguments"] += arguments
            yield self._event("response.function_call_arguments.delta", **self._at(call), delta=arguments)

    def _call_done(self, call: dict[str, Any], status: str) -> Iterator[Event]:
        whole = {"name": call["name"], "arguments": call["arguments"]}
        yield self._event("response.function_call_arguments.done", **self._at(call), **whole)
        call["status"] = status
        yield self._event("response.output_item.done", output_index=self._index(call), item=call)

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        if not usage:
            return
        read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        self.response["usage"] = {
            "input_tokens": usage.get("prompt_tokens", 0),
            "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0, "cache_write_tokens": 0},
            "output_tokens": usage.get("completion_tokens", 0),
            "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
            "total_tokens": usage.get("total_tokens", 0),
        }

    def _add(self, item: dict[str, Any]) -> int:
        self.response["output"].append(item)
        return len(self.response["output"]) - 1

    def _index(self, item: dict[str, Any]) -> int:
        return next(place for place, one in enumerate(self.response["output"]) if one is item)

    def _at(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": self._index(item)}

    def _at_text(self) -> dict[str, Any]:
        assert self._message is not None
        return {**self._at(self._message), "content_index": 0}

    def _snapshot(self) -> dict[str, Any]:
        return {**self.response, "output": list(self.response["output"])}

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event
