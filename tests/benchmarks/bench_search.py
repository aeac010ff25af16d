"""A question to a store, beside LlamaIndex over the same files and weights: in turns, each in its own process.

Of loam it is the whole search: question embedded, both indexes, the database. The questions are the documents' own
headings. Prints JSON; run with `python -m tests.benchmarks.bench_search`.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_ingest import LOAM, TREE
from tests.benchmarks.peers import ROOT, peer_environment, weights

PACKAGES = ("llama-index-core", "llama-index-embeddings-huggingface")
HITS = 10
QUESTIONS, WARM = 200, 10


def main() -> None:
    if not TREE.is_dir():
        sys.exit("bench_search needs the public data sets in ../shared/data")
    peer = peer_environment("llamaindex", PACKAGES)
    found: dict[str, list[float]] = {"loam": [], "llamaindex": []}
    command = [str(peer), "-m", "tests.benchmarks.llamaindex_peer", str(TREE), weights(), str(HITS)]
    with tempfile.TemporaryDirectory() as home, answering(command) as other, answering(ours(home)) as loam:
        for number, question in enumerate(questions()):
            # Who comes first is changed with every question.
            for name, process in sorted({"loam": loam, "llamaindex": other}.items(), reverse=bool(number % 2)):
                seconds = ask(process, question)
                if number >= WARM:
                    found[name].append(seconds)
    print(json.dumps(report(found), indent=2))


def ours(home: str) -> list[str]:
    subprocess.run([LOAM, "--home", home, "ingest", str(TREE), "--store", "book"], check=True, stdout=sys.stderr)
    return [sys.executable, "-c", "from tests.benchmarks.bench_search import serve; serve()", home]


def serve() -> None:
    """Answer each line with the seconds of its search."""
    from services.settings import Settings
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import find_store_by_name
    from services.wiring import open_services

    services = open_services(Settings(home=Path(sys.argv[1])))
    with services.database.read() as session:
        row = find_store_by_name(session, DEFAULT_PROJECT, "book")
    assert row is not None
    for line in sys.stdin:
        begun = time.perf_counter()
        services.searching.search(DEFAULT_PROJECT, [row.id], line.strip())
        print(time.perf_counter() - begun, flush=True)


@contextmanager
def answering(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: "subprocess.Popen[str]", question: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def questions() -> list[str]:
    headings = {
        match[1]
        for path in sorted(TREE.rglob("*.md"))
        for match in re.finditer(r"^#+ (.{12,})$", path.read_text(), re.M)
    }
    return sorted(headings)[: QUESTIONS + WARM]


def report(found: dict[str, list[float]]) -> dict[str, Any]:
    each = {
        name: {"p50_ms": 1000 * statistics.median(taken), "p99_ms": 1000 * statistics.quantiles(taken, n=100)[98]}
        for name, taken in found.items()
    }
    return {
        **each,
        "questions": len(found["loam"]),
        "ratio_of_p50": each["loam"]["p50_ms"] / each["llamaindex"]["p50_ms"],
    }


if __name__ == "__main__":
    main()
