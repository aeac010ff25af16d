"""The queue before a base: many at once, bounded, left by those who go, and given back when others ask for it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from services.engines.local.errand import Errand
from services.engines.local.lane import Lane
from services.errors import RateLimited

WAIT_S = 10.0


class Base:
    """Says a word a step to each of its errands, once it is let go; never ends those that are endless."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.stepping = threading.Event()
        self.errands: list[tuple[Errand[str], list[str]]] = []
        self.most = 0
        self.crowded = threading.Event()
        self.held_again = threading.Event()
        self.holds = 0
        self.asked_back = False
        self.broken: Exception | None = None

    @contextmanager
    def hold(self, _is_deserted: Callable[[], bool]) -> Iterator["Base"]:
        if self.broken:
            raise self.broken
        self.holds += 1
        if self.holds > 1:
            self.held_again.set()
        yield self

    @property
    def is_idle(self) -> bool:
        return not self.errands

    def step(self) -> None:
        self.stepping.set()
        self.go.wait(0.001)
        self.most = max(self.most, len(self.errands))
        if self.most > 1:
            self.crowded.set()
        self.errands = [one for one in self.errands if not one[0].is_unwanted()]
        if self.go.is_set():
            for errand, words in self.errands:
                errand.tell(words.pop(0))
                if not words:
                    errand.end()
            self.errands = [one for one in self.errands if one[1]]

    def errand(self, *words: str) -> Errand[str]:
        def begin(base: Base, errand: Errand[str]) -> None:
            if "wrong" in words:
                raise ValueError("wrong")
            base.errands.append((errand, list(words)))

        return Errand(begin)


@pytest.fixture
def base() -> Base:
    return Base()


@pytest.fixture
def lane(base: Base) -> Iterator[Lane]:
    lane = Lane(most_at_once=2, most_waiting=1, hold=base.hold, is_asked_back=lambda: base.asked_back)
    yield lane
    lane.close()


async def answered(errand: Errand[str]) -> list[str]:
    return [event async for event in errand.events()]


def test_errands_are_answered_together(lane: Lane, base: Base) -> None:
    async def main() -> list[list[str]]:
        base.go.clear()
        errands = [base.errand("a", "a"), base.errand("b", "b", "b")]
        for errand in errands:
            lane.submit(errand)
        await asyncio.to_thread(base.crowded.wait, WAIT_S)
        base.go.set()
        return [await answered(errand) for errand in errands]

    assert asyncio.run(main()) == [["a", "a"], ["b", "b", "b"]]


def test_one_too_many_is_told_when_to_come_back(lane: Lane, base: Base) -> None:
    async def main() -> None:
        base.go.clear()
        errands = [base.errand(word) for word in "abc"]
        for errand in errands:
            lane.submit(errand)
        with pytest.raises(RateLimited) as refused:
            lane.submit(base.errand("d"))
        assert refused.value.retry_after_s and refused.value.retry_after_s >= 1
        base.go.set()
        assert [await answered(errand) for errand in errands] == [["a"], ["b"], ["c"]]
        last = base.errand("e")
        lane.submit(last)
        assert await answered(last) == ["e"]

    asyncio.run(main())


def test_those_who_leave_make_room_at_once(lane: Lane, base: Base) -> None:
    async def main() -> None:
        base.go.clear()
        errands = [base.errand(word) for word in "abc"]
        for errand in errands:
            lane.submit(errand)
        listening = asyncio.create_task(answered(errands[0]))
        await asyncio.to_thread(base.stepping.wait, WAIT_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        last = base.errand("d")
        lane.submit(last)
        base.go.set()
        assert await answered(last) == ["d"]

    asyncio.run(main())


def test_what_goes_wrong_is_told_to_the_one_who_asked(lane: Lane, base: Base) -> None:
    async def main() -> None:
        errands = [base.errand("wrong"), base.errand("b")]
        for errand in errands:
            lane.submit(errand)
        with pytest.raises(ValueError, match="wrong"):
            await answered(errands[0])
        assert await answered(errands[1]) == ["b"]

    asyncio.run(main())


def test_a_base_that_cannot_be_had_is_tried_again_for_those_who_come_later(lane: Lane, base: Base) -> None:
    async def main() -> None:
        base.broken = OSError("no such files")
        first, second = base.errand("a"), base.errand("b")
        lane.submit(first)
        with pytest.raises(OSError, match="no such files"):
            await answered(first)
        base.broken = None
        lane.submit(second)
        assert await answered(second) == ["b"]

    asyncio.run(main())


def test_a_base_that_is_asked_back_is_given_back_before_others_are_let_in(lane: Lane, base: Base) -> None:
    async def main() -> None:
        base.go.clear()
        first, second = base.errand("a"), base.errand("b")
        lane.submit(first)
        await asyncio.to_thread(base.stepping.wait, WAIT_S)
        base.asked_back = True
        lane.submit(second)
        base.go.set()
        assert await answered(first) == ["a"]
        await asyncio.to_thread(base.held_again.wait, WAIT_S)
        base.asked_back = False
        assert await answered(second) == ["b"]
        assert base.most == 1

    asyncio.run(main())


def test_what_comes_after_all_waits_for_those_before_and_for_nobody_else(lane: Lane, base: Base) -> None:
    done = threading.Event()

    async def main() -> None:
        base.go.clear()
        first, second = base.errand("a"), base.errand(*"bbbb")
        lane.submit(first)
        lane.after_all(done.set)
        lane.submit(second)
        await asyncio.to_thread(base.stepping.wait, WAIT_S)
        assert not done.is_set()
        base.go.set()
        assert await answered(first) == ["a"]
        assert await asyncio.to_thread(done.wait, WAIT_S)
        assert await answered(second) == ["b"] * 4

    asyncio.run(main())


def test_a_close_gives_up_those_who_wait_and_does_what_was_to_come_after(lane: Lane, base: Base) -> None:
    done: list[str] = []

    async def main() -> None:
        base.go.clear()
        lane.submit(base.errand("a"))
        lane.after_all(lambda: done.append("after"))
        await asyncio.to_thread(base.stepping.wait, WAIT_S)
        assert done == []
        await asyncio.to_thread(lane.close)
        assert (done, base.errands) == (["after"], [])

    asyncio.run(main())
