"""Two processes that train together, under the names that the product gives them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.train.ranks import free_port, names_of

ROOT = Path(__file__).parents[2]


def said_by_two(module: str, jobs: Sequence[Path | str], folder: Path, *, killed: bool = False) -> list[str]:
    """Run a module over described jobs in both, and give what each prints; neither may end well if `killed`."""
    command = [sys.executable, "-m", module, *map(str, jobs)]
    port, ranks, said = free_port(), [], [folder / "first.out", folder / "second.out"]
    for number, path in enumerate(said):
        with path.open("wb") as out, path.with_suffix(".err").open("wb") as err:
            names = os.environ | names_of(number, 2, port)
            ranks.append(subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env=names))
    try:
        first, second = (process.wait() for process in ranks)
        # Whichever is killed first, the other may find it gone before it dies as well.
        as_meant = first and second if killed else first == second == 0
        assert as_meant, said[0].with_suffix(".err").read_text()[-2000:]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    return [path.read_text() for path in said]
