"""The command line as a user starts it: a process of its own over a home."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOAM = Path(sys.executable).with_name("loam")


@dataclass(frozen=True)
class Shell:
    """Runs `loam` in a home of its own."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "LOAM_HOME": str(self.home), **more}

    def run(self, *words: object, code: int = 0, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(LOAM), *map(str, words)]
        ran = subprocess.run(command, env=self.environment(**more), input=stdin, capture_output=True, text=True)
        assert ran.returncode == code, ran.stderr
        assert "Traceback" not in ran.stderr
        return ran

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)
