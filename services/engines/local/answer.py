"""One choice's answer as it comes: its content, and the calls that are read out of it."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from services.engines.local.calls import CallPiece, Heard
from services.engines.local.choice import Written
from services.engines.local.guide import Guide
from services.ids import new_id

Delta: TypeAlias = dict[str, Any]

SHORT_ID = 9


class Answer:
    """Put together from pieces: the same ones make the whole message and its deltas."""

    def __init__(self, guide: Guide | None) -> None:
        self._reader = guide.reader() if guide else None
        self._short_ids = guide is not None and guide.frame is not None and guide.frame.short_ids
        self._content: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self.finish_reason: str | None = None

    def add(self, written: Written) -> list[Delta]:
        """Take the next piece; give what it adds to the message."""
        deltas = [self._delta(heard) for heard in self._heard(written) if heard]
        if written.finish_reason is not None:
            self.finish_reason = self._reason(written.finish_reason)
        return deltas

    def message(self) -> dict[str, Any]:
        content = "".join(self._content)
        message = {"role": "assistant", "content": content, "refusal": None}
        return message | {"content": content or None, "tool_calls": self._calls} if self._calls else message

    def _heard(self, written: Written) -> Iterator[Heard]:
        if self._reader is None:
            yield written.piece.text
            return
        yield from self._reader.feed(written.piece.text)
        if written.finish_reason is not None:
            yield from self._reader.finish(cut=written.finish_reason == "length")

    def _delta(self, heard: Heard) -> Delta:
        if isinstance(heard, str):
            self._content.append(heard)
            return {"content": heard}
        return {"tool_calls": [self._begun(heard) if heard.name is not None else self._more(heard)]}

    def _begun(self, piece: CallPiece) -> dict[str, Any]:
        call_id = new_id("")[:SHORT_ID] if self._short_ids else new_id("call_")
        function = {"name": piece.name, "arguments": piece.arguments}
        self._calls.append({"id": call_id, "type": "function", "function": function})
        return {"index": piece.index, "id": call_id, "type": "function", "function": dict(function)}

    def _more(self, piece: CallPiece) -> dict[str, Any]:
        self._calls[piece.index]["function"]["arguments"] += piece.arguments
        return {"index": piece.index, "function": {"arguments": piece.arguments}}

    def _reason(self, reason: str) -> str:
        """An answer has called only if none of its calls was cut off."""
        called = self._reader is not None and self._reader.calls and not self._reader.is_within
        return "tool_calls" if called and reason == "stop" else reason
