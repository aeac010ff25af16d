"""The queue before one base, and the thread in which all who are let in are answered together."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol

from services.engines.local.errand import Errand
from services.errors import RateLimited

log = logging.getLogger(__name__)

LOOKED_AT = 16
"""So many of the latest answers say how fast others will follow."""

LONGEST_S = 60.0
"""Nobody is told to stay away for longer."""


class Worked(Protocol):
    """What a lane works with, once it holds it: a base."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody is being answered."""

    def step(self) -> None:
        """Go on a little with all who are being answered."""


class Lane:
    """Answers up to `most_at_once` requests at once; `most_waiting` more may wait."""

    def __init__(
        self,
        *,
        most_at_once: int,
        most_waiting: int,
        hold: Callable[[Callable[[], bool]], AbstractContextManager[Worked]],
        is_asked_back: Callable[[], bool],
    ) -> None:
        """`hold` gives the base for a while, unless what it is given says that nobody waits any more.

        While `is_asked_back`, nobody else is let in, so that the base is idle in the end and can be given back.
        """
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local")
        self._most_at_once = most_at_once
        self._most_waiting = most_waiting
        self._hold = hold
        self._is_asked_back = is_asked_back
        self._lock = threading.Lock()
        self._errands: list[Errand[Any]] = []
        self._new: list[Errand[Any]] = []
        self._later: list[tuple[Callable[[], None], set[Errand[Any]]]] = []
        self._is_running = False
        self._answered_at: deque[float] = deque(maxlen=LOOKED_AT)

    def submit(self, errand: Errand[Any]) -> None:
        """Let an errand in. Raises RateLimited when too many wait; those given up count no more."""
        with self._lock:
            wanted = sum(not other.is_unwanted() for other in self._errands)
            if wanted >= self._most_at_once + self._most_waiting:
                raise RateLimited(
                    f"The model is busy: {wanted} requests are before this one.",
                    retry_after_s=self._until_answered(wanted - self._most_at_once + 1),
                    code="engine_overloaded",
                )
            self._errands.append(errand)
            self._new.append(errand)
            self._wake()

    def after_all(self, work: Callable[[], None]) -> None:
        """Do something in the lane's thread once all that came before has been done."""
        with self._lock:
            self._later.append((work, set(self._errands)))
            self._wake()

    def close(self) -> None:
        """Give up every errand and wait for the thread, which still does what was to come after them."""
        with self._lock:
            for errand in self._errands:
                errand.give_up()
        self._thread.shutdown()

    def _wake(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._thread.submit(self._run)

    def _run(self) -> None:
        """Work until there is nothing more to do."""
        while self._has_more():
            self._settle()
            if not self._new:
                continue
            try:
                with self._hold(self._is_deserted) as worked:
                    self._work(worked)
            except BaseException as exc:  # told to those who asked, not to the thread
                for errand in self._unsettled():
                    errand.end(exc)

    def _work(self, worked: Worked) -> None:
        """Answer until nobody is left, or until all are done who were there when the base was asked back."""
        while True:
            if not self._is_asked_back():
                for errand in self._taken():
                    errand.begin(worked)
            self._settle()
            if worked.is_idle and (self._is_asked_back() or not self._new):
                return
            worked.step()

    def _taken(self) -> list[Errand[Any]]:
        with self._lock:
            new, self._new = self._new, []
            return new

    def _settle(self) -> None:
        """Forget the errands that are over, and do what was to come after them."""
        with self._lock:
            for errand in self._errands:
                if errand.is_done and not errand.is_unwanted():
                    self._answered_at.append(time.monotonic())
            self._errands = [errand for errand in self._errands if not _is_over(errand)]
            self._new = [errand for errand in self._new if not _is_over(errand)]
            left = set(self._errands)
            due = [work for work, before in self._later if not before & left]
            self._later = [(work, before & left) for work, before in self._later if before & left]
        for work in due:
            _logged(work)

    def _until_answered(self, count: int) -> float:
        """Guess how long it takes until so many more have been answered."""
        if len(self._answered_at) < 2:
            return 1.0
        spent = self._answered_at[-1] - self._answered_at[0]
        return min(LONGEST_S, max(1.0, count * spent / (len(self._answered_at) - 1)))

    def _has_more(self) -> bool:
        with self._lock:
            self._is_running = bool(self._errands or self._later or self._new)
            return self._is_running

    def _is_deserted(self) -> bool:
        """Whether nobody waits any more."""
        with self._lock:
            return all(errand.is_unwanted() for errand in self._errands)

    def _unsettled(self) -> list[Errand[Any]]:
        with self._lock:
            self._new.clear()
            return list(self._errands)


def _is_over(errand: Errand[Any]) -> bool:
    return errand.is_done or errand.is_unwanted()


def _logged(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        log.exception("local_work_failed")
