"""Who searches when many ask at once: few at a time, and the next are embedded when these run out.

Searching is the interpreter's work: threads that do it together only take it from each other. Embedding is the cheaper
the more texts share a batch. So a question that comes while enough others are embedded already waits to be embedded
with those that come after it; it would wait for its turn anyway, and nobody waits for a timer.
"""

from threading import BoundedSemaphore, Condition
from typing import Protocol

WAITING_FOR_EACH = 4
"""Where more than so many wait for each turn that there is, no more are embedded."""


class Turn(Protocol):
    """What a search takes turns by: it is held while searching, and let go while models compute."""

    def await_need(self) -> None:
        """Return when a question should be embedded."""

    def __enter__(self) -> object: ...

    def __exit__(self, *raised: object) -> None: ...


class Turns:
    """So many turns; any number of threads may wait for them."""

    def __init__(self, count: int) -> None:
        self._free = BoundedSemaphore(count)
        self._enough = WAITING_FOR_EACH * count
        self._waiting = 0
        self._changed = Condition()

    def await_need(self) -> None:
        """Return when no more than enough wait for a turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting <= self._enough)

    def __enter__(self) -> None:
        if self._free.acquire(blocking=False):
            return
        with self._changed:
            self._waiting += 1
        try:
            self._free.acquire()
        finally:
            with self._changed:
                self._waiting -= 1
                if self._waiting <= self._enough:
                    self._changed.notify_all()

    def __exit__(self, *raised: object) -> None:
        self._free.release()


class NoTurns:
    """Everybody searches as they come."""

    def await_need(self) -> None:
        """Return at once."""

    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None: ...
