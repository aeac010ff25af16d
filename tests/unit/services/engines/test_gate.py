import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.engines.breaker import Breaker, Circuit
from services.engines.gate import Gate
from services.errors import BadRequest, CircuitOpen, RateLimited, ServiceError, UpstreamFailed, UpstreamTimeout


async def chunks(*texts: str, fail: ServiceError | None = None, pause_s: float = 0) -> AsyncGenerator[str]:
    for text in texts:
        await asyncio.sleep(pause_s)
        yield text
    if fail:
        raise fail


async def failing(error: ServiceError) -> Any:
    raise error


def test_requests_beyond_the_places_wait_in_order() -> None:
    said: list[int] = []

    async def ask(gate: Gate, number: int) -> None:
        async def say() -> None:
            said.append(number)
            await asyncio.sleep(0.01)
            said.append(number)

        await gate.answer(say)

    async def three() -> Gate:
        gate = Gate("m", most=1, wait_s=5)
        await asyncio.gather(*(ask(gate, number) for number in range(3)))
        return gate

    gate = asyncio.run(three())
    assert said == [0, 0, 1, 1, 2, 2]
    assert (gate.places.taken, gate.places.waiting, gate.counts) == (0, 0, {"answered": 3})


def test_who_waits_too_long_is_told_when_to_come_back() -> None:
    async def two() -> Gate:
        gate = Gate("m", most=1, wait_s=0.01)
        stream = gate.stream(chunks("a", "b"))
        await anext(stream)
        with pytest.raises(RateLimited) as busy:
            await anext(gate.stream(chunks("c")))
        assert (busy.value.code, busy.value.retry_after_s) == ("model_busy", 1)
        await stream.aclose()
        assert [one async for one in gate.stream(chunks("c"))] == ["c"]
        return gate

    gate = asyncio.run(two())
    assert (gate.places.taken, gate.counts) == (0, {"left": 1, "limited": 1, "answered": 1})


def test_who_leaves_the_line_takes_no_place() -> None:
    async def leave() -> Gate:
        gate = Gate("m", most=1, wait_s=5)
        stream = gate.stream(chunks("a", "b"))
        await anext(stream)
        waiting = asyncio.create_task(gate.answer(lambda: asyncio.sleep(0)))
        await asyncio.sleep(0)
        assert gate.places.waiting == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        # One that is handed its place in the moment when it leaves gives it on.
        handed = asyncio.create_task(gate.answer(lambda: asyncio.sleep(0)))
        await asyncio.sleep(0)
        await stream.aclose()
        handed.cancel()
        await asyncio.gather(handed, return_exceptions=True)
        return gate

    gate = asyncio.run(leave())
    assert (gate.places.taken, gate.places.waiting) == (0, 0)


def test_only_what_does_not_work_opens_the_circuit() -> None:
    async def fail() -> None:
        gate = Gate("m", breaker=Breaker(failures=2, open_s=30))
        for error in (UpstreamFailed("x"), BadRequest("y"), RateLimited("z"), UpstreamFailed("x")):
            with pytest.raises(type(error)):
                await gate.answer(lambda error=error: failing(error))  # type: ignore[misc]
        assert gate.breaker.circuit is Circuit.CLOSED
        with pytest.raises(UpstreamFailed):
            [one async for one in gate.stream(chunks(fail=UpstreamFailed("x")))]
        with pytest.raises(CircuitOpen) as cut_off:
            await anext(gate.stream(chunks("a")))
        assert 29 < cut_off.value.retry_after_s <= 30
        assert gate.counts == {"failed": 3, "refused": 2, "cut_off": 1}

    asyncio.run(fail())


def test_a_stream_closes_the_circuit_with_its_first_chunk() -> None:
    async def begin() -> None:
        gate = Gate("m", breaker=Breaker(failures=1, open_s=0.001))
        with pytest.raises(UpstreamFailed):
            await gate.answer(lambda: failing(UpstreamFailed("x")))
        await asyncio.sleep(0.002)
        stream = gate.stream(chunks("a", "b"))
        await anext(stream)
        assert gate.breaker.circuit is Circuit.CLOSED
        await stream.aclose()

    asyncio.run(begin())


def test_silence_has_an_end() -> None:
    async def wait() -> None:
        gate = Gate("m", timeout_s=0.02)
        with pytest.raises(UpstreamTimeout, match=r"'m' said nothing for 0.02 s"):
            await gate.answer(lambda: asyncio.sleep(5))
        slow = gate.stream(chunks("a", "b", "c", pause_s=0.012))
        assert [one async for one in slow] == ["a", "b", "c"]

    asyncio.run(wait())
