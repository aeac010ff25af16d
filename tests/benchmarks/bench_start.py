"""From process start to the first cited answer, and to the help text, each in a fresh process.

Interleaved with a Python that does nothing, and with one that embeds the question and prints the nearest passage,
which is what no program can be under. The home is warm: ingested, its graph exported, its files in the page cache.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOAM = str(Path(sys.executable).with_name("loam"))
ROUNDS = 9
QUESTION = "Where are vectors kept so that the same text is never embedded twice?"


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LOAM_HOME": home}
        papers = [str(path) for path in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "deploy")]
        subprocess.run([LOAM, "ingest", *papers, "--store", "docs"], env=environment, check=True, capture_output=True)
        bare = Path(home) / "bare"
        save_bare(Path(home), bare)
        print(json.dumps(measure(environment, bare), indent=2))


def save_bare(home: Path, folder: Path) -> None:
    """Keep the passages of a home as the bare search reads them."""
    from rag.encoders.embed import open_embedder
    from services.settings import Settings
    from tests.benchmarks.bare import graph_folder, save

    settings = Settings(home=home)
    folder.mkdir()
    with closing(sqlite3.connect(home / "loam.db")) as database:
        passages = [text for (text,) in database.execute("SELECT text FROM chunks ORDER BY id")]
    vectors = open_embedder(settings.embedder, cache_dir=settings.cache).embed(passages)
    save(folder, graph_folder(settings.cache), passages, vectors)


def measure(environment: dict[str, str], bare: Path) -> dict[str, Any]:
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "bare": [sys.executable, "-m", "tests.benchmarks.bare", str(bare), QUESTION],
        "help": [LOAM, "--help"],
        "ask": [LOAM, "ask", QUESTION, "--store", "docs", "--json"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken, output = timed(command, environment)
            seconds[name].append(taken)
    answer = json.loads(output)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "seconds": medians,
        "seconds_best": {name: min(taken) for name, taken in seconds.items()},
        "citations": len(answer["citations"]),
        "ratio_of_ask_to_one_second": medians["ask"] / 1.0,
        "ratio_of_ask_to_bare": medians["ask"] / medians["bare"],
        "ratio_of_help_to_300_ms": medians["help"] / 0.3,
    }


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, str]:
    begun = time.perf_counter()
    ran = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    return time.perf_counter() - begun, ran.stdout


if __name__ == "__main__":
    main()
