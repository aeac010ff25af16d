"""Engines behind somebody else's API: Groq and whatever else speaks OpenAI's completions.

One pooled client forwards; the vendors' SDKs are kept off this path (a hop through one costs 2 ms)
and check it in the tests instead. A request is tried again only while nothing of an answer has come.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import anyio
from pydantic import SecretStr

from services.engines.engine import ChatRequest, TextRequest
from services.engines.pool import ClientPool, proxy_for
from services.engines.sse import EventDecoder
from services.engines.upstream_errors import Failed, failure_of, refusal_of, scrubbed
from services.errors import ServiceError, UpstreamFailed
from services.fast_json import from_json, to_json

log = logging.getLogger(__name__)

DONE = "[DONE]"
DRAIN_S = 0.5
CONNECT_TIMEOUT_S = 10.0
BROKEN = (aiohttp.ClientError, TimeoutError)
LONGEST_WAIT_S = 8.0
"""An upstream that asks for a longer pause than this is not waited for: the caller is told instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where a hosted model is, and what its API takes.

    `supports` are the parameters accepted from callers, `forwards` those of them that the API knows:
    the others change nothing of what is promised and are left out. `text_url` and `supports_text` are
    for raw prompts, where it takes them. `key_hint` says where the key comes from, for messages; the
    key itself is in none.
    """

    engine: str
    url: str
    model: str
    key: SecretStr | None
    key_hint: str
    timeout_s: float
    retries: int
    supports: frozenset[str]
    forwards: frozenset[str]
    text_url: str = ""
    supports_text: frozenset[str] = frozenset()


class Hosted:
    """Forwards completions to an upstream and gives back what comes, field for field."""

    def __init__(
        self, upstream: Upstream, pool: ClientPool, pause: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        self._upstream = upstream
        self._pool = pool
        self._pause = pause
        connect_s = min(CONNECT_TIMEOUT_S, upstream.timeout_s)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=upstream.timeout_s)

    @property
    def name(self) -> str:
        return self._upstream.engine

    @property
    def supports(self) -> frozenset[str]:
        return self._upstream.supports

    @property
    def supports_text(self) -> frozenset[str]:
        return self._upstream.supports_text

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        return await self._whole(self._upstream.url, self._chat_body(request))

    def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        return self._streamed(self._upstream.url, self._chat_body(request))

    async def complete(self, request: TextRequest) -> dict[str, Any]:
        return await self._whole(self._upstream.text_url, self._text_body(request))

    def stream_text(self, request: TextRequest) -> AsyncGenerator[dict[str, Any]]:
        return self._streamed(self._upstream.text_url, self._text_body(request))

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name in self._upstream.forwards}
        messages = [_without_annotations(message) for message in request.messages]
        return {"messages": messages, "model": self._upstream.model, **params}

    def _text_body(self, request: TextRequest) -> dict[str, Any]:
        return {"prompt": request.prompt, "model": self._upstream.model, **request.params}

    async def _whole(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._answered(url, to_json(body)) as response:
            received = await response.read()
        completion = _object(received, self._upstream)
        if not completion["choices"]:
            raise UpstreamFailed(f"{self._upstream.engine} gave a completion without choices.", code="upstream_invalid")
        return completion

    async def _streamed(self, url: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        begun = finished = False
        async with self._answered(url, to_json({**body, "stream": True})) as response:
            events = _events(response)
            async for data in events:
                if data == DONE:
                    await _drain(events)
                    finished = begun
                    break
                chunk = _object(data, self._upstream)
                begun = True
                finished = finished or any(choice.get("finish_reason") for choice in chunk["choices"])
                yield chunk
        if not finished:
            raise UpstreamFailed(f"{self._upstream.engine} ended its stream early.", code="upstream_interrupted")

    @asynccontextmanager
    async def _answered(self, url: str, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the response once its status is known to be good; it is closed on the way out, read or not."""
        response = await self._send(url, body)
        try:
            yield response
        except BROKEN as exc:
            raise failure_of(exc, self._upstream.engine, self._upstream.timeout_s).error from exc
        finally:
            # Its connection is used again if all of it was read, else closed.
            response.release()

    async def _send(self, url: str, body: bytes) -> aiohttp.ClientResponse:
        for attempt in range(self._upstream.retries + 1):
            try:
                return await self._attempt(url, body)
            except Failed as failed:
                wait_s = failed.wait_s(attempt)
                last = attempt == self._upstream.retries or not failed.retryable or wait_s > LONGEST_WAIT_S
                log.warning(
                    "upstream_failed engine=%s model=%s attempt=%d retrying=%s code=%s",
                    self._upstream.engine, self._upstream.model, attempt + 1, not last, failed.error.code,
                )  # fmt: skip
                if last:
                    raise failed.error from failed.__cause__
                await self._pause(wait_s)
        raise AssertionError("the last attempt either answers or raises")

    async def _attempt(self, url: str, body: bytes) -> aiohttp.ClientResponse:
        upstream = self._upstream
        try:
            response = await self._pool.client().post(
                url,
                data=body,
                headers=_headers(upstream),
                timeout=self._timeout,
                allow_redirects=False,
                proxy=proxy_for(url),
            )
            if response.status == HTTPStatus.OK:
                return response
            try:
                said = await response.read()
            finally:
                response.release()
        except BROKEN as exc:
            raise failure_of(exc, upstream.engine, upstream.timeout_s) from exc
        raise refusal_of(
            response.status,
            response.headers,
            said,
            engine=upstream.engine,
            key=upstream.key,
            key_hint=upstream.key_hint,
        )


def _headers(upstream: Upstream) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json"}
    if upstream.key is not None:
        headers["authorization"] = f"Bearer {upstream.key.get_secret_value()}"
    return headers


async def _drain(events: AsyncIterator[str]) -> None:
    """Read what comes after the end, so that the connection can be used again; none waits long for it."""
    with anyio.move_on_after(DRAIN_S), suppress(*BROKEN):
        async for _ in events:
            pass


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    decoder = EventDecoder()
    async for received in response.content.iter_any():
        for data in decoder.feed(received):
            yield data
    for data in decoder.finish():
        yield data


def _object(text: str | bytes, upstream: Upstream) -> dict[str, Any]:
    """Read a completion or a chunk of one. Raises UpstreamFailed for anything else, and for an error in its place."""
    try:
        value: Any = from_json(text)
    except (ValueError, RecursionError) as exc:
        raise UpstreamFailed(f"{upstream.engine} sent something that is not JSON.", code="upstream_invalid") from exc
    if isinstance(value, dict) and value.get("error"):
        raise _reported(value["error"], upstream)
    completion: dict[str, Any] = value if isinstance(value, dict) else {"choices": None}
    choices = completion.setdefault("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamFailed(f"{upstream.engine} sent JSON that is not a completion.", code="upstream_invalid")
    return completion


def _reported(error: object, upstream: Upstream) -> ServiceError:
    message = error.get("message") if isinstance(error, Mapping) else None
    said = f": {scrubbed(message, upstream.key)}" if isinstance(message, str) else "."
    return UpstreamFailed(f"{upstream.engine} failed while it answered{said}", code="upstream_interrupted")


def _without_annotations(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what clients send back with an earlier answer of ours and upstreams refuse."""
    return {name: value for name, value in message.items() if name != "annotations"}
