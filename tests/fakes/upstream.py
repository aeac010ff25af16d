"""An upstream that says what its script says: a raw socket, so that bytes are cut where a test wants them cut."""

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one request gets. `then`: the connection is kept, cut before the reply is whole, or left hanging.

    The reply begins only once `after` requests have come.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    pieces: Sequence[bytes] = ()
    then: Literal["end", "cut", "hang"] = "end"
    after: int = 1


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def completion(text: str, **message: Any) -> Reply:
    """A whole completion, with a field of Groq's own."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    body = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "upstream-model",
        "choices": [choice],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        "x_groq": {"id": "req_upstream"},
    }
    return Reply(pieces=[json.dumps(body).encode()])


def error(status: int, message: str, **headers: str) -> Reply:
    body = {"error": {"message": message, "type": "upstream_type", "code": "upstream_code"}}
    return Reply(status=status, headers={**JSON, **headers}, pieces=[json.dumps(body).encode()])


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None, **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1700000000, "model": "upstream"}
    return b"data: " + json.dumps({**body, "choices": choices, **fields}, ensure_ascii=False).encode() + b"\r\n\r\n"


def stream(*texts: str, cut_every: int = 1 << 16, then: Literal["end", "cut", "hang"] = "end") -> Reply:
    """A stream of texts, its bytes cut every so many; unless it is to `end`, the end is missing."""
    events = [b": a comment\r\n\r\n", chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": text}) for text in texts]
    if then == "end":
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        events += [chunk({}, "stop"), chunk({}, usage=usage).replace(b'"choices": [{', b'"choices": [], "was": [{')]
        events += [b"data: [DONE]\r\n\r\n"]
    whole = b"".join(events)
    pieces = [whole[start : start + cut_every] for start in range(0, len(whole), cut_every)]
    return Reply(headers=SSE, pieces=pieces, then=then)


def text(*texts: str, finish_reason: str | None = "stop", **choice: Any) -> dict[str, Any]:
    """A text completion with a choice a text, as vLLM gives it."""
    choices = [
        {"index": index, "text": said, "logprobs": None, "finish_reason": finish_reason, **choice}
        for index, said in enumerate(texts)
    ]
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    head = {"id": "cmpl-upstream", "object": "text_completion", "created": 1700000000, "model": "upstream-model"}
    return {**head, "choices": choices, "usage": usage}


def text_completion(*texts: str, **choice: Any) -> Reply:
    return Reply(pieces=[json.dumps(text(*texts, **choice)).encode()])


def text_stream(*texts: str, cut_every: int = 1 << 16, then: Literal["end", "cut", "hang"] = "end") -> Reply:
    objects = [*(text(said, finish_reason=None) for said in texts), text("")]
    events = [*(b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects), b"data: [DONE]\n\n"]
    whole = b"".join(events if then == "end" else events[:-2])
    return Reply(headers=SSE, pieces=[whole[at : at + cut_every] for at in range(0, len(whole), cut_every)], then=then)


class Upstream:
    """Serves its script in order, one reply a request, or what `answer` gives for it, on a thread of its own."""

    def __init__(self, answer: Callable[[Received], Reply] | None = None) -> None:
        self.received: list[Received] = []
        self.client_gone = threading.Event()
        self.connections = 0
        self._replies: deque[Reply] = deque()
        self._given = answer or (lambda _request: self._replies.popleft())
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()

    def script(self, *replies: Reply) -> None:
        """Forget what was and say this next."""
        self.received.clear()
        self.client_gone.clear()
        self.connections = 0
        self._replies = deque(replies)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, sock=self._socket)
        await self._stop.wait()
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.connections += 1
            while (request := await _request(reader)) is not None:
                async with self._arrived:
                    self.received.append(request)
                    self._arrived.notify_all()
                if not await self._answer(self._given(request), reader, writer):
                    break
        except ConnectionError:
            self.client_gone.set()
        finally:
            writer.close()

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= reply.after)
        headers = {**reply.headers, "transfer-encoding": "chunked"}
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for piece in reply.pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        if reply.then == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        if reply.then == "hang" and await reader.read(1) == b"":
            self.client_gone.set()
        return reply.then == "end"


async def _request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(head[0].split()[1], headers, json.loads(body or b"{}"))
