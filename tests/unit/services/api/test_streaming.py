import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from fastapi import Request
from starlette.types import Message

from services.api.streaming import (
    MOST_GATHERED,
    ClientGone,
    EventStream,
    WireJSON,
    gathered,
    opened,
    stream_chunks,
    while_connected,
)
from services.errors import UpstreamFailed

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/",
    "headers": [],
    "asgi": {"version": "3.0", "spec_version": "2.3"},
}


def request(*, gone: bool = False) -> Request:
    async def receive() -> Message:
        if not gone:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    return Request(SCOPE, receive)


async def chunks(*texts: str, fail: bool = False) -> AsyncGenerator[dict[str, Any]]:
    for text in texts:
        yield {"said": text}
    if fail:
        raise UpstreamFailed("It broke.", code="broken")


async def sent_by(response: EventStream) -> str:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    await response(SCOPE, request().receive, send)
    return b"".join(sent).decode()


async def streamed(objects: AsyncGenerator[dict[str, Any]]) -> str:
    return await sent_by(await stream_chunks(request(), objects))


def test_a_stream_ends_with_done() -> None:
    assert asyncio.run(streamed(chunks("a", "b"))) == 'data: {"said":"a"}\n\ndata: {"said":"b"}\n\ndata: [DONE]\n\n'


def test_a_stream_that_breaks_ends_with_its_error() -> None:
    text = asyncio.run(streamed(chunks("a", fail=True)))

    error = '{"message":"It broke.","type":"upstream_error","param":null,"code":"broken"}'
    assert text == f'data: {{"said":"a"}}\n\ndata: {{"error":{error}}}\n\n'


def test_what_breaks_before_the_first_chunk_is_raised() -> None:
    with pytest.raises(UpstreamFailed):
        asyncio.run(streamed(chunks(fail=True)))


def test_work_stops_when_the_client_goes() -> None:
    stopped: list[bool] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(True)

    with pytest.raises(ClientGone):
        asyncio.run(while_connected(request(gone=True), work))
    assert stopped == [True]


def test_a_stream_is_closed_when_it_is_left() -> None:
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[dict[str, Any]]:
        try:
            while True:
                yield {}
        finally:
            closed.append(True)

    async def leave() -> None:
        objects = await opened(request(), endless())
        await anext(objects)
        await objects.aclose()

    asyncio.run(leave())
    assert closed == [True]


def test_half_a_surrogate_pair_does_not_break_a_response() -> None:
    assert WireJSON({"text": "\ud83d"}).body == b'{"text":"\\ud83d"}'


def test_events_that_come_together_are_sent_together() -> None:
    more = asyncio.Event()

    async def events() -> AsyncGenerator[bytes]:
        yield b"a"
        yield b"b"
        await more.wait()
        yield b"c"

    async def pieces() -> list[bytes]:
        gathering = gathered(events())
        first = await anext(gathering)
        more.set()
        return [first, *[piece async for piece in gathering]]

    assert asyncio.run(pieces()) == [b"ab", b"c"]


def test_a_slow_client_slows_the_upstream() -> None:
    given: list[int] = []

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            given.append(1)
            yield b"x"

    async def leave() -> None:
        gathering = gathered(endless())
        assert await anext(gathering) == b"x" * MOST_GATHERED
        await asyncio.sleep(0.01)
        assert len(given) <= 2 * MOST_GATHERED
        await gathering.aclose()

    asyncio.run(leave())


def test_leaving_stops_what_is_being_waited_for() -> None:
    closed: list[bool] = []

    async def silent() -> AsyncGenerator[bytes]:
        try:
            yield b"a"
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async def leave() -> None:
        gathering = gathered(silent())
        await anext(gathering)
        await gathering.aclose()

    asyncio.run(leave())
    assert closed == [True]
