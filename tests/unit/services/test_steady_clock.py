import time

import pytest

from services import steady_clock
from services.steady_clock import JUMP_S, STEADY_S, SteadyClock


class Clocks:
    """A wall clock and one that counts how long the machine has run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.running = 1_000_000.0, 50.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(steady_clock, "_running_s", lambda: self.running)

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_a_clock_that_runs_as_time_does_is_steady(clocks: Clocks) -> None:
    clock = SteadyClock()
    clocks.run(10 * JUMP_S)
    assert clock.is_steady()


def test_one_that_went_ahead_is_not_for_an_hour(clocks: Clocks) -> None:
    clock = SteadyClock()
    clocks.wall += JUMP_S + 1
    assert not clock.is_steady()
    clocks.run(STEADY_S - 1)
    assert not clock.is_steady()
    clocks.run(1)
    assert clock.is_steady()


def test_one_that_went_back_removes_nothing_too_early(clocks: Clocks) -> None:
    clock = SteadyClock()
    clocks.wall -= 10 * JUMP_S
    assert clock.is_steady()
