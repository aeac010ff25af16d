"""`loam ingest` of a documentation tree, beside embedding alone and LangChain with FAISS, in one run.

All embed the same files with the same weights. Loading the model is left out of the two others and
is in loam's figure, which is that of the whole process. Then one file of the tree is changed and it
is ingested again, as a share of the time that all took, and so by what loam says that its work took. Seconds of the
processor are told as well: they are steadier where others use the machine, or where its memory has to be read again.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import ROOT, peer_environment, weights

LOAM = str(Path(sys.executable).with_name("loam"))
TREE = ROOT.parent / "shared" / "data" / "md_docs" / "rust_book"
PEER_PACKAGES = ("langchain-community", "langchain-huggingface", "langchain-text-splitters")
ROUNDS = 3


def main() -> None:
    if not TREE.is_dir():
        sys.exit("bench_ingest needs the public data sets in ../shared/data")
    peer = peer_environment("langchain", PEER_PACKAGES)
    ingest(TREE)
    runs: dict[str, list[tuple[float, float]]] = {"ingest": [], "embedding_alone": [], "langchain_faiss": []}
    for _ in range(ROUNDS):
        # LangChain's programs are loaded when its clock begins. Ours count, but have not to come from the disk again.
        ingest(next(TREE.rglob("*.md")))
        seconds, computed, peak_mb, summary = ingest(TREE)
        runs["ingest"].append((seconds, computed))
        runs["embedding_alone"].append(taken_by([sys.executable, "-m", "tests.benchmarks.embedding_alone", TREE]))
        runs["langchain_faiss"].append(taken_by([peer, "-m", "tests.benchmarks.langchain_peer", TREE, weights()]))
    medians = {name: statistics.median(seconds for seconds, _ in taken) for name, taken in runs.items()}
    processor = {name: statistics.median(computed for _, computed in taken) for name, taken in runs.items()}
    shares = [one_file_changed() for _ in range(ROUNDS)]
    report: dict[str, Any] = {
        "files": summary["files"],
        "chunks": summary["chunks"],
        "seconds": medians,
        "peak_rss_mb": peak_mb,
        "ratio_of_ingest_to_embedding": medians["ingest"] / medians["embedding_alone"],
        "ratio_of_langchain_to_ingest": medians["langchain_faiss"] / medians["ingest"],
        "processor_seconds": processor,
        "ratio_of_langchain_to_ingest_by_processor": processor["langchain_faiss"] / processor["ingest"],
        "one_changed_share_of_process": statistics.median(process for process, _ in shares),
        "one_changed_share_of_work": statistics.median(work for _, work in shares),
    }
    print(json.dumps(report, indent=2))


def ingest(tree: Path, home: Path | None = None) -> tuple[float, float, float, dict[str, Any]]:
    """Ingest, into a fresh home if none is given.

    Give the process's seconds, those of the processor, its peak memory in MB, and what it says.
    """
    with tempfile.TemporaryDirectory() as fresh, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [LOAM, "ingest", str(tree), "--store", "book", "--json"]
        begun = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "LOAM_HOME": str(home or fresh)}, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            sys.exit("loam ingest failed")
        output.seek(0)
        return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, json.load(output)


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
    return again[0] / whole[0], again[-1]["seconds"] / whole[-1]["seconds"]


def taken_by(command: list[Any]) -> tuple[float, float]:
    """Give the seconds that a program says it took, and those of the processor."""
    ran = subprocess.run([str(word) for word in command], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, computed = map(float, ran.stdout.splitlines()[-1].split())
    return seconds, computed


if __name__ == "__main__":
    main()
