"""A request on its way: what it begins in the thread that answers, and how its events reach the loop that asked."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

Event = TypeVar("Event")


class Errand(Generic[Event]):
    """Made in the loop that asks; begun, told to and ended in a lane's thread."""

    def __init__(self, begin: "Callable[[Any, Errand[Event]], None]") -> None:
        """`begin` is given what the lane works with, and this."""
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._unwanted = threading.Event()
        self.is_done = False

    def is_unwanted(self) -> bool:
        return self._unwanted.is_set()

    def give_up(self) -> None:
        self._unwanted.set()

    def begin(self, worked: Any) -> None:
        """Begin what is to be done. What goes wrong is told to whoever asked."""
        try:
            self._begin(worked, self)
        except BaseException as exc:
            self.end(exc)

    def tell(self, event: Event) -> None:
        self._send(event)

    def end(self, failure: BaseException | None = None) -> None:
        """Tell that nothing more will come, or why. The first word is the last."""
        if not self.is_done:
            self.is_done = True
            self._send(failure)

    async def events(self) -> AsyncGenerator[Event]:
        """Give the events as they come; closing gives the work up."""
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.give_up()

    def _send(self, event: Event | BaseException | None) -> None:
        # The loop of a command line may have ended: nobody listens then.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
