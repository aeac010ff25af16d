"""So many requests at once, the others in a line that moves: the places that a model has."""

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TypeAlias

_Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Places:
    """`most` requests at once, None for any number. They may be of several event loops: parity asks in its own."""

    def __init__(self, most: int | None) -> None:
        self.taken = 0
        self._most = most
        self._line: deque[_Waiter] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return len(self._line)

    async def take(self, within_s: float) -> bool:
        """Take a place, in the order of coming; False if none was free in time."""
        with self._lock:
            if self._most is None or (self.taken < self._most and not self._line):
                self.taken += 1
                return True
            loop = asyncio.get_running_loop()
            given = loop.create_future()
            waiter = (loop, given)
            self._line.append(waiter)
        try:
            await asyncio.wait_for(asyncio.shield(given), within_s)
        except BaseException as exc:
            self._step_out(waiter)
            if isinstance(exc, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give the place up, to who has waited longest."""
        with self._lock:
            self.taken -= 1
            while self._line and (self._most is None or self.taken < self._most):
                loop, given = self._line.popleft()
                # A loop that has ended took its waiters with it.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_give, given)
                    self.taken += 1

    def _step_out(self, waiter: _Waiter) -> None:
        """Leave the line, or give up the place that was being handed over meanwhile."""
        with self._lock:
            waits = waiter in self._line
            if waits:
                self._line.remove(waiter)
        if not waits:
            self.leave()


def _give(given: "asyncio.Future[None]") -> None:
    if not given.done():
        given.set_result(None)
