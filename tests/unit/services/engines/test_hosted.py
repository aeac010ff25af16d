"""Retries and errors at the edge of an upstream, with a transport in place of the network."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from services.engines.engine import ChatRequest
from services.engines.hosted import Hosted, Upstream
from services.engines.pool import ClientPool, proxy_for
from services.errors import RateLimited, ServiceError, UpstreamFailed, UpstreamRefused, UpstreamTimeout

REQUEST = ChatRequest(
    messages=({"role": "user", "content": "Hi", "annotations": []},), params={"top_p": 1, "user": "ada"}
)
REFUSED = aiohttp.ClientConnectorError(SimpleNamespace(host="h", port=1, ssl=False), OSError("no"))  # type: ignore[arg-type]
DONE = {"choices": [{"index": 0, "message": {"content": "Hi"}}]}


class Response:
    """A response as aiohttp gives it, its body in one piece."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.status = status
        self.headers = CIMultiDict(headers)
        self._body = body
        self.content = self
        self.released = False

    async def read(self) -> bytes:
        return self._body

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body

    def release(self) -> None:
        self.released = True


Answer = Response | Exception


class FakePool(ClientPool):
    """A pool and its client in one: gives its answers in turn."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.given: list[Response] = []

    def client(self) -> Any:
        return self

    async def post(self, _url: str, *, data: bytes, **_options: Any) -> Response:
        self.bodies.append(json.loads(data))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.given.append(answer)
        return answer


def engine(pool: FakePool, pauses: list[float]) -> Hosted:
    upstream = Upstream(
        engine="groq",
        url="http://upstream/chat",
        model="m",
        key=SecretStr("gsk_secret"),
        key_hint="GROQ_API_KEY",
        timeout_s=5,
        retries=2,
        supports=frozenset({"top_p", "user"}),
        forwards=frozenset({"top_p"}),
    )

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    return Hosted(upstream, pool, pause)


def say(*answers: Answer) -> tuple[dict[str, Any], FakePool, list[float]]:
    pool, pauses = FakePool(*answers), list[float]()
    return asyncio.run(engine(pool, pauses).chat(REQUEST)), pool, pauses


def success(value: Any) -> Response:
    return Response(200, json.dumps(value).encode())


def failure(status: int, message: str = "Busy", **headers: str) -> Response:
    return Response(status, json.dumps({"error": {"message": message, "code": "busy"}}).encode(), **headers)


def test_only_what_the_upstream_knows_is_sent() -> None:
    _, pool, _ = say(success(DONE))

    assert pool.bodies == [{"messages": [{"role": "user", "content": "Hi"}], "model": "m", "top_p": 1}]


def test_pauses_double_with_jitter() -> None:
    _, pool, [first, second] = say(failure(503), REFUSED, success(DONE))

    assert len(pool.bodies) == 3
    assert 0.375 <= first <= 0.625 and 0.75 <= second <= 1.25


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "20"}, 0.02),
        ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
    ],
)
def test_the_upstream_says_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert say(failure(429, **headers), success(DONE))[2] == [seconds]


@pytest.mark.parametrize(
    ("answers", "kind", "attempts"),
    [
        ([failure(503), failure(500), failure(502)], UpstreamFailed, 3),
        ([failure(429, **{"retry-after": "9"})], RateLimited, 1),
        ([failure(429, **{"retry-after": "inf"})] * 3, RateLimited, 3),
        ([failure(400)], UpstreamRefused, 1),
        ([failure(401)], UpstreamFailed, 1),
        ([failure(302)], UpstreamFailed, 1),
        ([aiohttp.SocketTimeoutError("late")], UpstreamTimeout, 1),
        ([aiohttp.ConnectionTimeoutError("late")] * 3, UpstreamTimeout, 3),
        ([aiohttp.ServerDisconnectedError("gone")] * 3, UpstreamFailed, 3),
        ([Response(200, b"[" * 100_000)], UpstreamFailed, 1),
    ],
)
def test_what_cannot_be_mended_is_raised(answers: list[Answer], kind: type[ServiceError], attempts: int) -> None:
    pool = FakePool(*answers)
    with pytest.raises(kind) as raised:
        asyncio.run(engine(pool, []).chat(REQUEST))

    assert type(raised.value) is kind
    assert len(pool.bodies) == attempts


def test_the_key_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ServiceError) as raised:
        say(failure(400, "Key gsk_secret may not use this model"))

    assert str(raised.value) == "Key *** may not use this model"
    assert "gsk_secret" not in caplog.text + repr(engine(FakePool(), []).__dict__)


def streamed(content: bytes) -> list[dict[str, Any]]:
    pool = FakePool(Response(200, content))

    async def collect() -> list[dict[str, Any]]:
        return [chunk async for chunk in engine(pool, []).stream(REQUEST)]

    return asyncio.run(collect())


def test_a_stream_ends_at_done_or_after_a_reason_to_finish() -> None:
    last = b'data: {"choices": [{"finish_reason": "stop"}]}\n\n'

    assert streamed(b"data: {}\n\ndata: [DONE]\n\ndata: {}\n\n") == [{"choices": []}]
    assert len(streamed(last)) == 1
    for broken in (b"data: {}\n\n", b"data: [DONE]\n\n"):
        with pytest.raises(UpstreamFailed, match="early"):
            streamed(broken)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"choices": [1]}', b'{"error": "Oops"}', b'{"error": {"message": "Oops"}}']
)
def test_a_stream_of_something_else_fails(data: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        streamed(b"data: " + data + b"\n\n")


def test_a_pool_keeps_its_client_for_as_long_as_the_loop() -> None:
    pool = ClientPool()

    async def two() -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        clients = pool.client(), pool.client()
        await pool.aclose()
        return clients

    first, second = asyncio.run(two())
    third, _ = asyncio.run(two())
    assert first is second and first.closed and third is not first


def test_the_key_is_not_told_when_a_stream_breaks_off() -> None:
    with pytest.raises(UpstreamFailed, match=r"Key \*\*\* was revoked"):
        streamed(b'data: {"error": {"message": "Key gsk_secret was revoked"}}\n\n')


def test_a_proxy_is_the_environment_s_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy_for.cache_clear()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.internal")

    assert proxy_for("https://api.groq.com/openai/v1") == "http://proxy:3128"
    assert proxy_for("https://llm.internal/v1") is None
    for own in ("http://localhost:8000/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1"):
        assert proxy_for(own) is None
    proxy_for.cache_clear()
