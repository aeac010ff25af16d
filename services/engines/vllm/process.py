"""A vLLM server as a process of its own, which ends with this one however that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from services.engines.vllm.keeper import GRACE_S

LAST_BYTES = 64 * 1024
KEPT_FROM_SERVER = ("LOAM_", "GROQ_API_KEY", "OPENAI_API_KEY", "PYTHONPATH", "PYTHONHOME")
"""What of the environment is loam's alone: secrets of others, and where its own packages are."""


class ServerProcess:
    """A server that runs, its keeper and all that it starts in one process group. Its log begins anew with it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(KEPT_FROM_SERVER)}
        with log.open("wb") as said:
            # -P: a folder that is called like a package of ours must not be taken for it.
            self._keeper = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "services.engines.vllm.keeper", *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env={**inherited, **environment},
                cwd=log.parent,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the keeper, which is that of the process group."""
        return self._keeper.pid

    def has_ended(self, within_s: float = 0.0) -> bool:
        try:
            self._keeper.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        self._kill()
        return True

    def stop(self) -> None:
        """Let it end in order, and make it end. Does nothing once it has ended."""
        assert self._keeper.stdin is not None
        with suppress(OSError):
            self._keeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(2 * GRACE_S)
        self._kill()

    def kill(self) -> None:
        """End it at once."""
        self._kill()
        self.stop()

    def last_words(self) -> str:
        """Give the last line of its log that says something, for a message."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - LAST_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        told = [line.strip() for line in lines if "Error" in line or "error:" in line]
        return (told or [line.strip() for line in lines if line.strip()] or ["it said nothing"])[-1][:500]

    def _kill(self) -> None:
        # The keeper may have been ended by somebody else, and what it kept be there still.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait()
