"""What stands before a model's engine: its places, its circuit breaker, the limit on its silence, and their counts."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import anyio

from services.engines.breaker import Breaker
from services.engines.places import Places
from services.errors import CircuitOpen, NotReady, RateLimited, ServiceError, UpstreamFailed, UpstreamTimeout

Result = TypeVar("Result")

FAILURES = (UpstreamFailed, NotReady)
"""What counts against an engine: it is not there, or does not work. One that is busy or refuses works."""

_END: Any = object()


class Gate:
    """Lets requests through to one model; every request holds its place until its answer has ended.

    `timeout_s` is for engines that do not look to it themselves.
    """

    def __init__(
        self,
        model_id: str,
        *,
        most: int | None = None,
        wait_s: float = 0.0,
        timeout_s: float | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.model_id = model_id
        self.places = Places(most)
        self.breaker = breaker or Breaker(failures=0, open_s=0)
        self.counts: Counter[str] = Counter()
        self._wait_s = wait_s
        self._timeout_s = timeout_s

    async def answer(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Give what the engine answers. Raises CircuitOpen, RateLimited, UpstreamTimeout beside the engine's own."""
        async with self._through():
            return await self._in_time(ask())

    async def stream(self, chunks: AsyncGenerator[Result]) -> AsyncGenerator[Result]:
        """Give what the engine streams. It is known to work when its first chunk comes, not only when it ends."""
        async with aclosing(chunks), self._through():
            while (chunk := await self._in_time(anext(chunks, _END))) is not _END:
                self.breaker.succeeded()
                yield chunk

    @asynccontextmanager
    async def _through(self) -> AsyncIterator[None]:
        await self._enter()
        outcome = "left"
        try:
            yield
            outcome = "answered"
        except FAILURES:
            outcome = "failed"
            raise
        except ServiceError:
            outcome = "refused"
            raise
        finally:
            self.places.leave()
            self.counts[outcome] += 1
            self._note(outcome)

    def _note(self, outcome: str) -> None:
        if outcome == "failed":
            self.breaker.failed()
        elif outcome == "left":
            self.breaker.left()
        else:
            self.breaker.succeeded()

    async def _enter(self) -> None:
        if (wait_s := self.breaker.wait_s()) > 0:
            self.counts["cut_off"] += 1
            raise CircuitOpen(
                f"The model {self.model_id!r} has failed repeatedly and is left alone for now.", retry_after_s=wait_s
            )
        try:
            if await self.places.take(self._wait_s):
                return
        except BaseException:
            self.breaker.left()
            raise
        self.breaker.left()
        self.counts["limited"] += 1
        raise RateLimited(
            f"The model {self.model_id!r} is answering as many requests as it may: try again later.",
            retry_after_s=max(1.0, self._wait_s),
            code="model_busy",
        )

    async def _in_time(self, work: Awaitable[Result]) -> Result:
        if self._timeout_s is None:
            return await work
        try:
            with anyio.fail_after(self._timeout_s):
                return await work
        except TimeoutError as exc:
            said = f"The model {self.model_id!r} said nothing for {self._timeout_s:g} s."
            raise UpstreamTimeout(said, code="engine_timeout") from exc
