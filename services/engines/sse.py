"""Server-sent events out of bytes, however the network has cut them.

Lines may end in LF, CRLF or CR; comments and fields other than `data` are passed over. The spec is
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
"""

import re

# A CR at the very end may be half of a CRLF: it waits for the next bytes.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[\s\S])")


class EventDecoder:
    """Collects bytes and gives the data of each event once it is whole."""

    def __init__(self) -> None:
        self._partial_line = b""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[str]:
        """Take the next bytes; give the data of the events that they complete."""
        *lines, self._partial_line = _LINE_END.split(self._partial_line + received)
        return [data for line in lines if (data := self._read(line)) is not None]

    def finish(self) -> list[str]:
        """Give the last event where the stream ended without the blank line that closes it."""
        return self.feed(b"\n\n")

    def _read(self, line: bytes) -> str | None:
        if not line:
            data, self._data = self._data, []
            return "\n".join(data) if data else None
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None
