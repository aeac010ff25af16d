"""Who holds a job: `host:pid:start:number`, so that a dead holder on this host is known at once."""

import os
import socket
from functools import cache
from itertools import count
from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_numbers = count(1)


def new_owner() -> str:
    """Give the name of one worker of this process."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}:{next(_numbers)}"


def is_dead(owner: str) -> bool:
    """Tell whether an owner is of this host and its process has ended; of another host nothing is known."""
    host, pid, started, _ = owner.rsplit(":", 3)
    return host == _host() and _started(int(pid)) != started


@cache
def _host() -> str:
    """The host's name; containers that share one have process ids, and so a namespace, of their own."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino}" if namespace.exists() else socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process started: process ids are used again. Not by the wall clock, which may be set meanwhile."""
    if not _BOOT.exists():
        return _started_by_clock(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The third field of proc(5), the state, comes first here; the 22nd counts ticks since the machine was started.
    return None if fields[0] in "ZX" else f"{_BOOT.read_text()[:8]}-{fields[19]}"


def _started_by_clock(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(round(process.create_time() * 1000))
    except psutil.NoSuchProcess:
        return None
