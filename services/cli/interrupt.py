"""Ctrl-C as a wish, for work that is to end in order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def first_interrupt() -> Iterator[threading.Event]:
    """Give what the first Ctrl-C sets, wherever it falls: as an exception it is lost in a finalizer or a callback.

    The second is a KeyboardInterrupt again. To be used in the main thread.
    """
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
