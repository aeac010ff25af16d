import logging
import threading

import pytest

from services import upkeep
from services.upkeep import keep_up
from services.wiring import Services


def test_upkeep_sweeps_again_and_tidies_once_a_day(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, done = threading.Event(), []
    monkeypatch.setattr(upkeep, "SWEEP_S", 0.0)
    monkeypatch.setattr(upkeep, "tidy", lambda *_: done.append("tidy"))
    monkeypatch.setattr(upkeep, "sweep", lambda *_: done.append("sweep") or (len(done) > 2 and stop.set()))
    keep_up(stop, services.database, services.blobs, services.indexes)
    assert done == ["tidy", "sweep", "sweep"]


def test_nothing_expires_while_the_clock_is_not_to_be_trusted(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, done = threading.Event(), []
    monkeypatch.setattr(upkeep, "SWEEP_S", 0.0)
    monkeypatch.setattr(upkeep.SteadyClock, "is_steady", lambda _self: False)
    monkeypatch.setattr(upkeep, "sweep", lambda *_: done.append("sweep"))
    monkeypatch.setattr(upkeep, "prune", lambda *_: stop.set())
    keep_up(stop, services.database, services.blobs, services.indexes)
    assert done == []


def test_upkeep_goes_on_after_a_failure(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    failures = iter([OSError("disk full")])

    def sweep(*_: object) -> None:
        for failure in failures:
            raise failure
        stop.set()

    monkeypatch.setattr(upkeep, "SWEEP_S", 0.0)
    monkeypatch.setattr(upkeep, "sweep", sweep)
    with caplog.at_level(logging.ERROR):
        keep_up(stop, services.database, services.blobs, services.indexes)
    assert [record.message for record in caplog.records] == ["upkeep_failed"]
