"""A circuit breaker: what fails again and again is left alone for a while, and then tried by one request first.

Small on purpose: the libraries that there are let every waiting request through at once when the pause is
over, or wrap a call, where a stream is known to be good long before it ends.
"""

import time
from collections.abc import Callable
from enum import Enum


class Circuit(Enum):
    """closed → open after failures in a row; open → half_open when its pause is over and one request tries it;
    half_open → closed if that is answered, → open if it fails."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker:
    """Counts failures in a row; `failures` 0 is for one that never opens."""

    def __init__(self, *, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.circuit = Circuit.CLOSED
        self._most = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def wait_s(self) -> float:
        """Give how long to keep away; 0 lets the caller through, as the one who tries it if it was open."""
        if self.circuit is Circuit.CLOSED:
            return 0.0
        if self.circuit is Circuit.HALF_OPEN:
            return self._open_s
        if (left := self._until - self._clock()) > 0:
            return left
        self.circuit = Circuit.HALF_OPEN
        return 0.0

    def succeeded(self) -> None:
        self.circuit = Circuit.CLOSED
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        # What was under way when it opened fails late and must not make the pause longer.
        if self.circuit is Circuit.HALF_OPEN or (self.circuit is Circuit.CLOSED and 0 < self._most <= self._failures):
            self.circuit = Circuit.OPEN
            self._until = self._clock() + self._open_s

    def left(self) -> None:
        """A request ended without an answer and without a failure: if it was the one that tries, the next one does."""
        if self.circuit is Circuit.HALF_OPEN:
            self.circuit = Circuit.OPEN
