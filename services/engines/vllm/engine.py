"""The vLLM engine: requests forwarded as to any hosted engine, to a server that may still have to start."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import anyio

from services.engines.engine import ChatRequest, TextRequest
from services.engines.hosted import Hosted, Upstream
from services.engines.parameters import HARMLESS, VLLM, VLLM_TEXT
from services.engines.pool import ClientPool
from services.engines.vllm.server import Running, Server
from services.engines.vllm.tools import held
from services.engines.vllm.tuned import Speaker, Tuned
from services.errors import NotReady, ServiceError, UpstreamFailed, UpstreamRefused

SEEN_S = 2.0

RENDERED: Final = frozenset({"chat_template", "chat_template_kwargs"})
"""What loam itself says to the server of how a tuned model is to be asked."""

OF_THE_BASE: Final = frozenset({"chat_template_kwargs", "continue_final_message"})
"""What the server's own renderer would have to do, which is not asked for tuned models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a server is called, who answers there, and how long it may be silent or not yet up, in seconds."""

    served_name: str
    key_hint: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """A server that runs, the client towards it, and of a tuned model how it is spoken with."""

    running: Running
    hosted: Hosted
    speaker: Speaker | None

    async def worded(self, request: ChatRequest) -> ChatRequest:
        worded = request if self.speaker is None else await asyncio.to_thread(self.speaker.rendered, request)
        return replace(worded, params=held(worded.params))


class Vllm:
    """Answers over a declared model's server, as that model or as one that was tuned over it."""

    name = "vllm"
    supports_text = VLLM_TEXT

    def __init__(self, server: Server, asking: Asking, pool: ClientPool, tuned: Tuned | None = None) -> None:
        self._server = server
        self._asking = asking
        self._pool = pool
        self._tuned = tuned
        self._towards: tuple[Running, Hosted] | None = None
        self.supports = (VLLM - OF_THE_BASE if tuned else VLLM) | HARMLESS

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        async def ask(ready: _Ready) -> AsyncGenerator[dict[str, Any]]:
            yield await ready.hosted.chat(await ready.worded(request))

        return await _only(self._asked(ask))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        async def ask(ready: _Ready) -> AsyncGenerator[dict[str, Any]]:
            async with aclosing(ready.hosted.stream(await ready.worded(request))) as chunks:
                async for chunk in chunks:
                    yield chunk

        async with aclosing(self._asked(ask)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete(self, request: TextRequest) -> dict[str, Any]:
        async def ask(ready: _Ready) -> AsyncGenerator[dict[str, Any]]:
            yield await ready.hosted.complete(request)

        return await _only(self._asked(ask))

    def stream_text(self, request: TextRequest) -> AsyncGenerator[dict[str, Any]]:
        return self._asked(lambda ready: ready.hosted.stream_text(request))

    async def _asked(self, ask: Callable[[_Ready], AsyncGenerator[dict[str, Any]]]) -> AsyncGenerator[dict[str, Any]]:
        """Ask, and once more where nothing has been said and the server turns out to be another by now."""
        for last in (False, True):
            begun = False
            async with self._ready() as ready:
                try:
                    async with aclosing(ask(ready)) as said:
                        async for one in said:
                            begun = True
                            yield one
                    return
                except ServiceError as exc:
                    if not await self._is_worth_another(exc, ready.running) or begun or last:
                        raise

    async def _is_worth_another(self, exc: ServiceError, running: Running) -> bool:
        if isinstance(exc, UpstreamFailed):
            # The next request is to find the server that comes, not the one that has gone.
            looked = self._server.suspect()
            with anyio.move_on_after(SEEN_S):
                await _done(looked)
            return exc.code == "upstream_unreachable" and looked.done() and looked.result()
        if self._tuned and isinstance(exc, UpstreamRefused) and exc.status == HTTPStatus.NOT_FOUND:
            # It was let go a moment ago, or whoever runs the server has started it anew.
            running.adapters.forget(self._tuned.id)
            return True
        return False

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[_Ready]:
        running = await self._running()
        hosted = self._hosted(running)
        if self._tuned is None:
            yield _Ready(running, hosted, None)
            return
        with running.adapters.using(self._tuned.id):
            speaker = running.adapters.speaker(self._tuned.id)
            yield _Ready(running, hosted, speaker or await asyncio.to_thread(running.adapters.take, self._tuned))

    async def _running(self) -> Running:
        """Wait for the server, for a while. Raises NotReady, and why it did not start."""
        future = self._server.running()
        if not future.done():
            with anyio.move_on_after(self._asking.timeout_s):
                await _done(future)
        if not future.done():
            raise NotReady(
                f"The vLLM server of {self._asking.served_name!r} is being started, which takes a minute or more: try "
                "again soon.",
                param="model",
                code="engine_starting",
            )
        if isinstance(error := future.exception(), ServiceError):
            # Each waiter raises one of its own, lest they all write into one traceback.
            raise error.saying(str(error)) from error
        return future.result()

    def _hosted(self, running: Running) -> Hosted:
        if self._towards is None or self._towards[0] is not running:
            self._towards = (running, Hosted(self._upstream(running), self._pool))
        return self._towards[1]

    def _upstream(self, running: Running) -> Upstream:
        return Upstream(
            engine=self.name,
            url=f"{running.base_url}/chat/completions",
            model=self._tuned.id if self._tuned else self._asking.served_name,
            key=running.key,
            key_hint=self._asking.key_hint,
            timeout_s=self._asking.timeout_s,
            # What a server that crashed was asked is not asked again: it may be what it crashed of.
            retries=0,
            supports=self.supports,
            forwards=VLLM - {"add_generation_prompt"} | RENDERED if self._tuned else VLLM,
            text_url=f"{running.base_url}/completions",
            supports_text=VLLM_TEXT,
        )


async def _only(said: AsyncGenerator[dict[str, Any]]) -> dict[str, Any]:
    async with aclosing(said):
        return await anext(said)


async def _done(future: "Future[Any]") -> None:
    """Wait until a future of another thread is settled; to leave before harms nobody."""
    loop, settled = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: "Future[Any]") -> None:
        with suppress(RuntimeError):  # whoever waited has gone, with the loop
            loop.call_soon_threadsafe(settled.set)

    future.add_done_callback(tell)
    await settled.wait()
