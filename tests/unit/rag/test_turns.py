import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from threading import Event

import pytest

from rag.turns import WAITING_FOR_EACH, Turns

SOON_S = 0.1
IN_TIME_S = 10


class Searches:
    """Searches that take a turn each, and keep it until they are let go."""

    def __init__(self, turns: Turns, pool: ThreadPoolExecutor) -> None:
        self._turns, self._pool = turns, pool
        self.begun: list[int] = []
        self._let_go: list[Event] = []
        self._running: list[Future[None]] = []

    def begin(self, count: int) -> None:
        for _ in range(count):
            self._let_go.append(Event())
            self._running.append(self._pool.submit(self._search, len(self._running)))

    def end_all(self) -> None:
        for event in self._let_go:
            event.set()
        for search in self._running:
            search.result(IN_TIME_S)

    def end(self, number: int) -> None:
        self._let_go[number].set()
        self._running[number].result(IN_TIME_S)

    def _search(self, number: int) -> None:
        with self._turns:
            self.begun.append(number)
            assert self._let_go[number].wait(IN_TIME_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def needed_soon(turns: Turns, pool: ThreadPoolExecutor) -> bool:
    try:
        pool.submit(turns.await_need).result(SOON_S)
    except NotYet:
        return False
    return True


def eventually(found: Callable[[], bool]) -> bool:
    until = time.monotonic() + IN_TIME_S
    while not found():
        if time.monotonic() > until:
            return False
        time.sleep(SOON_S / 10)
    return True


def test_no_more_search_at_a_time_than_there_are_turns(pool: ThreadPoolExecutor) -> None:
    turns = Turns(2)
    searches = Searches(turns, pool)
    searches.begin(5)
    assert eventually(lambda: len(searches.begun) == 2)
    time.sleep(SOON_S)
    assert len(searches.begun) == 2
    searches.end(searches.begun[0])
    searches.end_all()
    assert sorted(searches.begun) == [0, 1, 2, 3, 4]


def test_nothing_is_embedded_while_enough_wait_for_a_turn(pool: ThreadPoolExecutor) -> None:
    turns = Turns(1)
    searches = Searches(turns, pool)
    searches.begin(1 + WAITING_FOR_EACH)
    assert needed_soon(turns, pool)
    searches.begin(1)
    assert eventually(lambda: not needed_soon(turns, pool))
    waiting = pool.submit(turns.await_need)
    searches.end(searches.begun[0])
    waiting.result(IN_TIME_S)
    searches.end_all()


def test_a_turn_is_given_back_by_a_search_that_fails() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="broken"), turns:
        raise ValueError("broken")
    with turns:
        turns.await_need()
