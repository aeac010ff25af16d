"""Server-sent events out, and work that stops when the client has gone."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import anyio
from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.api.errors import error_body
from services.errors import ServiceError, http_form
from services.fast_json import to_json

log = logging.getLogger(__name__)

Objects: TypeAlias = AsyncGenerator[dict[str, Any]]
Result = TypeVar("Result")

DONE = b"data: [DONE]\n\n"
MOST_GATHERED = 256
"""Events that wait for a slow client; then the upstream waits too."""


class ClientGone(ServiceError):
    """The client has closed the connection: nobody reads what would be sent."""

    status = 499


class WireJSON(JSONResponse):
    """JSON that a lone surrogate in what a model or a client wrote does not break."""

    def render(self, content: Any) -> bytes:
        return to_json(content)


class EventStream(StreamingResponse):
    """A stream of events; what makes them is closed when the client goes, wherever it stood."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._events.aclose()


async def stream_chunks(request: Request, chunks: Objects) -> EventStream:
    """Give a stream of chunks that ends in `[DONE]`; what fails before the first chunk is raised."""
    return EventStream(gathered(_chat_events(await opened(request, chunks))))


async def opened(request: Request, objects: Objects) -> Objects:
    """Wait for the first object, so that an early failure has a status of its own."""
    first = await while_connected(request, lambda: anext(objects, None))
    return _chained(first, objects)


async def while_connected(request: Request, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do the work, but stop it when the client goes. Raises ClientGone."""
    with anyio.CancelScope() as scope:
        watching = asyncio.create_task(_watch(request, scope))
        try:
            return await work()
        finally:
            watching.cancel()
    raise ClientGone("The client closed the connection.")


async def _watch(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def failed(exc: Exception) -> dict[str, Any]:
    """Give the wire form of what went wrong in mid-stream, and note what nobody foresaw."""
    if not isinstance(exc, ServiceError) and http_form(exc).status >= 500:
        log.exception("stream_failed", exc_info=exc)
    return error_body(exc)


async def gathered(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Give the events that came together in one piece, and none later than it came: to send each costs the most.

    An upstream's packet often holds several. They are read on a task of their own, which goes on without a pause while
    there are any; when it has to wait, what there is is sent.
    """
    waiting: list[bytes] = []
    arrived, taken = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        try:
            async for event in events:
                waiting.append(event)
                arrived.set()
                if len(waiting) >= MOST_GATHERED:
                    taken.clear()
                    await taken.wait()
        finally:
            arrived.set()

    reading = asyncio.create_task(read())
    try:
        while waiting or not reading.done():
            await arrived.wait()
            arrived.clear()
            if waiting:
                piece = b"".join(waiting)
                waiting.clear()
                taken.set()
                yield piece
            else:
                await asyncio.sleep(0)  # until `reading` is done
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await events.aclose()


async def _chained(first: dict[str, Any] | None, rest: Objects) -> Objects:
    try:
        if first is not None:
            yield first
        async for one in rest:
            yield one
    finally:
        await rest.aclose()


async def _chat_events(chunks: Objects) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            yield b"data: " + to_json(chunk) + b"\n\n"
        yield DONE
    except Exception as exc:
        # No [DONE]: a stream that broke did not end.
        yield b"data: " + to_json(failed(exc)) + b"\n\n"
    finally:
        await chunks.aclose()
