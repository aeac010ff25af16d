"""`loam ingest` of a documentation tree, beside embedding alone and LangChain with FAISS, in one run.

All embed the same files with the same weights. Of loam the whole process is timed. Of the two others as well, and by
itself what they took once their programs and the model were loaded, which is the harder to hold against. Then one file
of the tree is changed and it is ingested again, as a share of the time that all took, and so by what loam says that its
work took. Seconds of the processor are told as well: they are steadier where others use the machine, or where its
memory has to be read again.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from rag.chunk import chunk
from rag.encoders.embed import open_embedder
from rag.parse import parse
from tests.benchmarks.peers import ROOT, peer_environment, weights

LOAM = str(Path(sys.executable).with_name("loam"))
TREE = ROOT.parent / "shared" / "data" / "md_docs" / "rust_book"
PEER_PACKAGES = ("langchain-community", "langchain-huggingface", "langchain-text-splitters")
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a program or a part of it took: seconds, and those of the processor."""

    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that ran: the cost of its process, the most memory that it had in MB, and what it printed."""

    process: Cost
    peak_mb: float
    printed: str

    @property
    def work(self) -> Cost:
        """What the program says that it took once all was loaded, in the last line that it printed."""
        seconds, computed = map(float, self.printed.splitlines()[-1].split())
        return Cost(seconds=seconds, processor_seconds=computed)


def main() -> None:
    if not TREE.is_dir():
        sys.exit("bench_ingest needs the public data sets in ../shared/data")
    peer = peer_environment("langchain", PEER_PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        windows = Path(folder) / "windows.json"
        windows.write_text(json.dumps(windows_of(TREE)), encoding="utf-8")
        alone = [sys.executable, "-m", "tests.benchmarks.embedding_alone", windows]
        langchain = [peer, "-m", "tests.benchmarks.langchain_peer", TREE, weights()]
        costs: dict[str, list[Cost]] = defaultdict(list)
        ingest(TREE)
        for _ in range(ROUNDS):
            # Nobody's programs are to come from the disk.
            ingest(next(TREE.rglob("*.md")))
            ingested = ingest(TREE)
            costs["ingest"].append(ingested.process)
            for name, command in (("embedding_alone", alone), ("langchain_faiss", langchain)):
                other = ran(command)
                costs[f"{name}_process"].append(other.process)
                costs[name].append(other.work)
    medians = {name: median_cost(taken) for name, taken in costs.items()}
    shares = [one_file_changed() for _ in range(ROUNDS)]
    summary = json.loads(ingested.printed)
    report: dict[str, Any] = {
        "files": summary["files"],
        "chunks": summary["chunks"],
        "peak_rss_mb": ingested.peak_mb,
        "medians": {name: asdict(cost) for name, cost in medians.items()},
        "ratio_of_ingest_to_embedding": ratios(medians, "ingest", "embedding_alone"),
        "ratio_of_langchain_to_ingest": ratios(medians, "langchain_faiss", "ingest"),
        "ratio_of_processes_ingest_to_embedding": ratios(medians, "ingest", "embedding_alone_process"),
        "ratio_of_processes_langchain_to_ingest": ratios(medians, "langchain_faiss_process", "ingest"),
        "one_changed_share_of_process": statistics.median(process for process, _ in shares),
        "one_changed_share_of_work": statistics.median(work for _, work in shares),
    }
    print(json.dumps(report, indent=2))


def windows_of(tree: Path) -> list[str]:
    """Give every window that an ingest of these files embeds, once."""
    embedder = open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam"))
    texts: dict[str, None] = {}
    for path in sorted(tree.rglob("*.md")):
        document = parse(path.read_bytes(), path.name)
        for piece in chunk(document, embedder.tokenizer, max_window_tokens=embedder.max_tokens):
            texts.update(dict.fromkeys(document.text[window.start : window.end] for window in piece.windows))
    return list(texts)


def ingest(tree: Path, home: Path | None = None) -> Ran:
    """Ingest, into a fresh home if none is given."""
    with tempfile.TemporaryDirectory() as fresh:
        return ran([LOAM, "ingest", tree, "--store", "book", "--json"], {"LOAM_HOME": str(home or fresh)})


def ran(command: Sequence[str | Path], environment: Mapping[str, str] = MappingProxyType({})) -> Ran:
    """Run a program to its end, in a process of its own."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, env={**os.environ, **environment}, stdout=output
        )
        _, status, used = os.wait4(process.pid, 0)
        cost = Cost(seconds=time.perf_counter() - begun, processor_seconds=used.ru_utime + used.ru_stime)
        if status:
            sys.exit(f"{command[0]} failed")
        output.seek(0)
        return Ran(process=cost, peak_mb=used.ru_maxrss / 1024, printed=output.read())


def median_cost(costs: Sequence[Cost]) -> Cost:
    return Cost(
        seconds=statistics.median(cost.seconds for cost in costs),
        processor_seconds=statistics.median(cost.processor_seconds for cost in costs),
    )


def ratios(medians: Mapping[str, Cost], one: str, other: str) -> dict[str, float]:
    first, second = asdict(medians[one]), asdict(medians[other])
    return {unit: first[unit] / second[unit] for unit in first}


def one_file_changed() -> tuple[float, float]:
    """Give the share of the whole, of the process and of its work, that a second ingest takes with one file changed."""
    with tempfile.TemporaryDirectory() as folder:
        tree, home = Path(folder) / "tree", Path(folder) / "home"
        shutil.copytree(TREE, tree)
        whole = ingest(tree, home)
        files = sorted(tree.rglob("*.md"))
        changed = files[len(files) // 2]
        changed.write_text(changed.read_text(encoding="utf-8") + "\nOne sentence more.\n", encoding="utf-8")
        again = ingest(tree, home)
    said = [json.loads(one.printed)["seconds"] for one in (again, whole)]
    return again.process.seconds / whole.process.seconds, said[0] / said[1]


if __name__ == "__main__":
    main()
