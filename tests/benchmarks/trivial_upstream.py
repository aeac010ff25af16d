"""An upstream that costs next to nothing: 32 words at once, whole or as a stream. Run with the port as argument."""

import asyncio
import json
import sys
from typing import Any

import uvloop

WORDS = 32
HEAD = {"id": "chatcmpl-1", "created": 1700000000, "model": "m"}


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {**HEAD, "object": "chat.completion.chunk", "choices": choices}
    return chunked(b"data: " + json.dumps(body).encode() + b"\n\n")


def whole() -> bytes:
    message = {"role": "assistant", "content": "word " * WORDS}
    usage = {"prompt_tokens": 3, "completion_tokens": WORDS, "total_tokens": WORDS + 3}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({**HEAD, "object": "chat.completion", "choices": choices, "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = [
    event({"role": "assistant", "content": ""}),
    *[event({"content": "word "})] * WORDS,
    event({}, "stop"),
    chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n",
]
WHOLE = whole()


class Answering(asyncio.Protocol):
    """Answers each request of a connection, every event of a stream in a write of its own."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            _, _, declared = self.received[:end].lower().partition(b"content-length:")
            last = end + 4 + int(declared.split(b"\r\n", 1)[0] or 0)
            if len(self.received) < last:
                return
            body, self.received = self.received[end + 4 : last], self.received[last:]
            self.answer(b'"stream":true' in body.replace(b" ", b""))

    def answer(self, streamed: bool) -> None:
        for piece in (STREAM_HEAD, *EVENTS) if streamed else (WHOLE,):
            self.transport.write(piece)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
