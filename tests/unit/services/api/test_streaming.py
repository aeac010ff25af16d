import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from fastapi import Request
from starlette.types import Message

from services.api.streaming import ClientGone, EventStream, WireJSON, opened, stream_chunks, while_connected
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
