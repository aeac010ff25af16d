"""Who holds a job: `host:pid:start time:number`, so that a dead holder on this host is known at once."""

import os
import socket
from functools import cache
from itertools import count
from pathlib import Path

import psutil

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
    """When a process started, in milliseconds: process ids are used again."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(round(process.create_time() * 1000))
    except psutil.NoSuchProcess:
        return None
