"""The queue before one base: requests are run in a thread of its own, in order and one at a time."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

from services.errors import RateLimited

log = logging.getLogger(__name__)

SMOOTHING = 0.3
"""How much the latest request counts in the usual time of one."""

Event = TypeVar("Event")


class Errand(Generic[Event]):
    """A request on its way: what it does in the lane's thread, and how its events reach the loop that asked."""

    def __init__(self, work: Callable[["Errand[Event]"], Iterator[Event]]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._unwanted = threading.Event()

    def is_unwanted(self) -> bool:
        return self._unwanted.is_set()

    def give_up(self) -> None:
        self._unwanted.set()

    def run(self) -> None:
        """Do the work, in the lane's thread."""
        try:
            if not self.is_unwanted():
                for event in self._work(self):
                    self._tell(event)
            self._tell(None)
        except BaseException as exc:  # told to whoever asked, not to the thread
            self._tell(exc)

    async def events(self) -> AsyncGenerator[Event]:
        """Give the events as they come; closing gives the work up."""
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.give_up()

    def _tell(self, event: Event | BaseException | None) -> None:
        # The loop of a command line may have ended: nobody listens then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


class Lane:
    """One thread, and those who wait for it: `most_waiting` beside the one that it works for."""

    def __init__(self, most_waiting: int) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local")
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._errands: list[Errand[Any]] = []
        self._usual_s = 1.0

    def submit(self, errand: Errand[Any]) -> None:
        """Let an errand wait its turn. Raises RateLimited when too many do; those given up count no more."""
        with self._lock:
            wanted = sum(not other.is_unwanted() for other in self._errands)
            if wanted > self._most_waiting:
                raise RateLimited(
                    f"The model is busy: {wanted} requests are before this one.",
                    retry_after_s=max(1.0, wanted * self._usual_s),
                    code="engine_overloaded",
                )
            self._errands.append(errand)
            self._thread.submit(self._run, errand)

    def after_all(self, work: Callable[[], None]) -> None:
        """Do something in the lane's thread once all that came before has been done."""
        self._thread.submit(_logged, work)

    def close(self) -> None:
        """Give up every errand and wait for the thread, which still does what was to come after them."""
        with self._lock:
            for errand in self._errands:
                errand.give_up()
        self._thread.shutdown()

    def _run(self, errand: Errand[Any]) -> None:
        begun = time.monotonic()
        try:
            errand.run()
        finally:
            with self._lock:
                self._errands.remove(errand)
                self._usual_s += SMOOTHING * (time.monotonic() - begun - self._usual_s)


def _logged(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        log.exception("local_work_failed")
