"""`loam serve` as a user starts it: a process of its own, on a free port, with its own home."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openai import OpenAI

LOAM = Path(sys.executable).with_name("loam")
STOP_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server; `url` ends before `/v1`."""

    url: str
    home: Path
    process: subprocess.Popen[str]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def client(self, api_key: str = "none", *, max_retries: int = 0) -> OpenAI:
        return OpenAI(base_url=self.base_url, api_key=api_key, max_retries=max_retries)


@contextmanager
def serving(home: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Run a server; `settings` become `LOAM_…` variables. It must leave in order when it is told to."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOAM_")}
    environment |= {"LOAM_HOME": str(home)} | {f"LOAM_{name.upper()}": value for name, value in settings.items()}
    command = [LOAM, "serve", "--port", "0", *options]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "serve.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            said = re.search(r"(http://\S+)/v1", process.stdout.readline())
            assert said, f"it did not start: {log.read_text()}"
            yield Server(url=said[1], home=home, process=process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_S) == 0, log.read_text()
        finally:
            process.kill()
