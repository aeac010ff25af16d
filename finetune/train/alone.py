"""One trainer a folder: a second one waits for the first, which may be about to end, and gives up soon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from finetune.errors import TrainingFailed
from finetune.train.ranks import rank

WAIT_S = 30.0


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a job's folder, which is made if need be. Raises TrainingFailed if another process holds it.

    Of processes that train together the first holds it for all.
    """
    if rank() > 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout as exc:
        raise TrainingFailed(
            f"Another trainer is at work in {str(folder)!r}.", code="busy", hint="Wait for its end, or end it."
        ) from exc
    try:
        yield
    finally:
        lock.release()
