"""Whether the wall clock can be trusted to say what has expired."""

import logging
import math
import time

JUMP_S = 600.0
STEADY_S = 3_600.0

log = logging.getLogger(__name__)


class SteadyClock:
    """Distrusts the wall clock for an hour after it went ahead by itself: what is removed in error is lost.

    The hour is there for somebody, or the machine's own time service, to set it right.
    """

    def __init__(self) -> None:
        self._offset = time.time() - _running_s()
        self._distrusted_until = -math.inf

    def is_steady(self) -> bool:
        offset = time.time() - _running_s()
        if offset - self._offset > JUMP_S:
            log.warning("clock_went_ahead by_s=%d nothing_expires_for_s=%d", offset - self._offset, STEADY_S)
            self._distrusted_until = _running_s() + STEADY_S
        self._offset = offset
        return _running_s() >= self._distrusted_until


def _running_s() -> float:
    """Give seconds since the machine was started, those included in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
