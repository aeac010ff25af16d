"""The queue before a base: in order, one at a time, bounded, and left by those who go."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from services.engines.local.lane import Errand, Lane
from services.errors import RateLimited

WAIT_S = 10.0

Work = Callable[[Errand[str]], Iterator[str]]


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane(most_waiting=1)
    yield lane
    lane.close()


async def answered(errand: Errand[str]) -> list[str]:
    return [event async for event in errand.events()]


def saying(*words: str) -> Work:
    return lambda _errand: iter(words)


class Held:
    """Work that has begun and goes on until it is let go or given up."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.given_up = False

    def __call__(self, errand: Errand[str]) -> Iterator[str]:
        self.begun.set()
        while not self.go.wait(0.001):
            if errand.is_unwanted():
                self.given_up = True
                return
        yield "done"


def test_errands_are_run_in_order(lane: Lane) -> None:
    async def main() -> list[list[str]]:
        errands = [Errand(saying(word, word)) for word in "ab"]
        for errand in errands:
            lane.submit(errand)
        return [await answered(errand) for errand in errands]

    assert asyncio.run(main()) == [["a", "a"], ["b", "b"]]


def test_one_too_many_is_told_when_to_come_back(lane: Lane) -> None:
    async def main() -> None:
        held = Held()
        running, waiting = Errand(held), Errand(saying("b"))
        lane.submit(running)
        lane.submit(waiting)
        with pytest.raises(RateLimited) as refused:
            lane.submit(Errand(saying("c")))
        assert refused.value.retry_after_s and refused.value.retry_after_s >= 1
        held.go.set()
        assert await answered(running) == ["done"]
        assert await answered(waiting) == ["b"]
        last = Errand(saying("d"))
        lane.submit(last)
        assert await answered(last) == ["d"]

    asyncio.run(main())


def test_one_who_leaves_ends_its_work_and_frees_its_place(lane: Lane) -> None:
    async def main() -> None:
        held = Held()
        running, waiting = Errand(held), Errand(saying("b"))
        lane.submit(running)
        lane.submit(waiting)
        listening = asyncio.create_task(answered(running))
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert await answered(waiting) == ["b"]
        assert held.given_up

    asyncio.run(main())


def test_one_who_leaves_the_queue_makes_room_at_once(lane: Lane) -> None:
    async def main() -> None:
        held, never = Held(), Held()
        lane.submit(Errand(held))
        waiting = Errand(never)
        lane.submit(waiting)
        waiting.give_up()
        last = Errand(saying("c"))
        lane.submit(last)
        held.go.set()
        assert await answered(last) == ["c"]
        assert not never.begun.is_set()

    asyncio.run(main())


def test_what_goes_wrong_is_told_to_the_one_who_asked(lane: Lane) -> None:
    def broken(_errand: Errand[str]) -> Iterator[str]:
        yield "a"
        raise RuntimeError("broken")

    async def main() -> None:
        first, second = Errand(broken), Errand(saying("b"))
        lane.submit(first)
        lane.submit(second)
        heard = []
        with pytest.raises(RuntimeError, match="broken"):
            async for event in first.events():
                heard.append(event)
        assert heard == ["a"]
        assert await answered(second) == ["b"]

    asyncio.run(main())


def test_what_comes_after_all_waits_for_them_and_survives_a_close(lane: Lane) -> None:
    done: list[str] = []

    async def main() -> None:
        held = Held()
        lane.submit(Errand(held))
        lane.after_all(lambda: done.append("after"))
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        assert done == []
        await asyncio.to_thread(lane.close)
        assert (done, held.given_up) == (["after"], True)

    asyncio.run(main())
