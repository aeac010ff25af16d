import os
import subprocess
import sys

import pytest

from services.jobs.owner import is_dead, new_owner


def test_workers_of_one_process_have_names_of_their_own() -> None:
    assert new_owner() != new_owner()


def test_living_process_is_not_dead() -> None:
    assert not is_dead(new_owner())


def test_ended_process_is_dead() -> None:
    code = "from services.jobs.owner import new_owner; print(new_owner())"
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(owner)


def test_process_id_that_is_used_again_is_dead() -> None:
    host = new_owner().rsplit(":", 3)[0]
    assert is_dead(f"{host}:{os.getpid()}:1000:1")


def test_living_process_is_not_dead_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = new_owner()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1.0)
    assert not is_dead(owner)


def test_nothing_is_known_of_another_host() -> None:
    assert not is_dead("elsewhere:1:1000:1")
