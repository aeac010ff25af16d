"""Many vectors: what a search among them takes and finds, what filters cost, and what adding to them writes.

    python -m tests.benchmarks.bench_scale [VECTORS]

The vectors are clustered in their directions, as those of texts are: 2,000 centres, around each 24 directions that
twenty centres share and a little noise in all. Questions are drawn alike. Searches run on one thread. Beside it the
ways in which the same vectors are added: appended to the log, and as OGX's FAISS provider does it, which writes its
whole index with each document. Prints JSON; where a folder `bench-results` is there, draws what both wrote.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.types import ChunkId
from rag.vectors import VectorIndex
from rag.vectors.log import newest_epoch
from rag.vectors.scan import best, cosines_of

VECTORS = 60_000
DIMENSIONS = 384
CENTRES, SHARED, DIRECTIONS = 2000, 20, 24
SPREAD, NOISE = 0.9, 0.5
BLOCK = 10_000
QUERIES = 200
SHARES = (0.5, 0.1, 0.01, 0.001)
DOCUMENTS, ROWS_PER_DOCUMENT = 400, 20
RESULTS = Path(__file__).parents[2] / "bench-results"


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.argv[1:2] == ["memory"]:
        print_memory(Path(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else VECTORS
    with tempfile.TemporaryDirectory() as folder:
        report = {"vectors": count} | searching(Path(folder) / "searched", count) | {"adding": adding(Path(folder))}
    print(json.dumps(report, indent=2))


class Clustered:
    """Draws unit vectors; two with one seed draw the same."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._centres = _unit(random.normal(size=(CENTRES, DIMENSIONS)))
        self._directions = random.normal(size=(CENTRES // SHARED, DIRECTIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)

    def draw(self, count: int, seed: int) -> Vectors:
        """Give `float32 [count, DIMENSIONS]`."""
        random = np.random.default_rng(seed)
        chosen = random.integers(CENTRES, size=count)
        vectors = self._centres[chosen] + random.normal(size=(count, DIMENSIONS)) * (NOISE / np.sqrt(DIMENSIONS))
        inside = random.normal(size=(count, DIRECTIONS)) * (SPREAD / np.sqrt(DIRECTIONS))
        for group in range(CENTRES // SHARED):
            mine = chosen // SHARED == group
            vectors[mine] += inside[mine] @ self._directions[group]
        return _unit(vectors)


def searching(folder: Path, count: int) -> dict[str, Any]:
    """Add, have lists made, open again; then search with and without filters."""
    clustered = Clustered()
    index = VectorIndex(folder, DIMENSIONS)
    report: dict[str, Any] = {"added_s": seconds(lambda: fill(index, clustered, count))}
    queries = clustered.draw(QUERIES, seed=10**6)
    report["exact"] = measured(index, queries, None)
    report["lists_made_s"] = seconds(lambda: (index.maintain(), index.finish_maintaining()))
    report["opened_s"] = seconds(lambda: VectorIndex(folder, DIMENSIONS))
    index = VectorIndex(folder, DIMENSIONS)
    report["lists"] = measured(index, queries, None) | described(folder, count)
    report["memory_bytes_a_vector"] = memory(folder, count)
    random = np.random.default_rng(1)
    for share in SHARES:
        within = np.sort(random.choice(count, max(10, int(share * count)), replace=False))
        report[f"filter_keeps_{share:g}"] = measured(index, queries, within)
    return report


def fill(index: VectorIndex, clustered: Clustered, count: int) -> None:
    for start in range(0, count, BLOCK):
        block = clustered.draw(min(BLOCK, count - start), seed=start)
        for first in range(0, len(block), 1024):
            some = block[first : first + 1024]
            index.add([ChunkId(start + first + place) for place in range(len(some))], [row[None] for row in some])


def measured(index: VectorIndex, queries: Vectors, within: NDArray[np.int64] | None) -> dict[str, float]:
    """Give the recall@10 against an exact search, and the milliseconds of a search for ten and for a hundred."""
    found = [set(index.search(query, 10, within)) for query in queries]
    exact = [truth(index, query, within) for query in queries]
    recall = sum(len(one & other) for one, other in zip(found, exact, strict=True)) / sum(map(len, exact))
    return {"recall_at_10": recall} | {
        f"p50_ms_for_{limit}": median_ms(index, queries, limit, within) for limit in (10, 100)
    }


def median_ms(index: VectorIndex, queries: Vectors, limit: int, within: NDArray[np.int64] | None) -> float:
    return float(np.median([seconds(partial(index.search, query, limit, within)) for query in queries])) * 1e3


def truth(index: VectorIndex, query: Vectors, within: NDArray[np.int64] | None) -> set[int]:
    rows = index.rows
    numbers = rows.live if within is None else rows.of(within)
    nearest, _ = best(numbers, cosines_of(query, rows.vectors, numbers), 10)
    return set(rows.owners[nearest].tolist())


def described(folder: Path, count: int) -> dict[str, Any]:
    """Give the kind that was chosen, and the bytes of its lists, which are mapped and shared by all processes."""
    epoch = newest_epoch(folder)
    assert epoch is not None
    manifest = json.loads((epoch / "clusters.json").read_text())
    size = sum(part["size"] for part in manifest["parts"])
    return {"probes": manifest["probes"], "measured_recall": manifest["recall"], "bytes_a_vector": size / count}


def adding(folder: Path) -> dict[str, Any]:
    """Add documents one by one, both ways, and give what was written and how long the last ones took."""
    import faiss

    clustered = Clustered()
    blocks = [clustered.draw(ROWS_PER_DOCUMENT, seed=place) for place in range(DOCUMENTS)]
    index = VectorIndex(folder / "log", DIMENSIONS)
    whole = faiss.IndexFlatL2(DIMENSIONS)

    def append() -> Iterator[tuple[float, int]]:
        for place, block in enumerate(blocks):
            before = written(folder / "log")
            ids = [ChunkId(place * ROWS_PER_DOCUMENT + row) for row in range(len(block))]
            yield (
                seconds(partial(index.add, ids, list(block[:, None]))),
                written(folder / "log") - before,
            )

    def rewrite() -> Iterator[tuple[float, int]]:
        path = folder / "whole.faiss"
        for block in blocks:
            yield (
                seconds(lambda block=block: (whole.add(block), faiss.write_index(whole, str(path)))),
                path.stat().st_size,
            )

    ways = {"appended": list(append()), "rewritten": list(rewrite())}
    draw(ways)
    return {
        name: {
            "megabytes_written": sum(size for _, size in steps) / 1e6,
            "last_tenth_ms": float(np.mean([one for one, _ in steps[-DOCUMENTS // 10 :]])) * 1e3,
        }
        for name, steps in ways.items()
    }


def draw(ways: dict[str, list[tuple[float, int]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, place, label, unit in zip(
        figure.subplots(1, 2), (0, 1), ("seconds", "megabytes written"), (1, 1e6), strict=True
    ):
        for name, steps in ways.items():
            axes.plot(np.cumsum([step[place] / unit for step in steps]), label=name)
        axes.set(xlabel=f"documents of {ROWS_PER_DOCUMENT} chunks added", ylabel=f"{label}, in all", yscale="log")
        axes.legend()
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "ingest_curves.png", dpi=120)


def written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def memory(folder: Path, count: int) -> dict[str, float]:
    """Give what a process of its own holds after the searches: its own memory, and what of the files it has mapped."""
    asked = [sys.executable, "-m", "tests.benchmarks.bench_scale", "memory", str(folder)]
    ran = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True)
    return {name: used / count for name, used in json.loads(ran.stdout).items()}


def print_memory(folder: Path) -> None:
    queries = Clustered().draw(QUERIES, seed=10**6)
    VectorIndex(folder / "none", DIMENSIONS).search(queries[0], 10)
    before = resident_bytes()
    index = VectorIndex(folder, DIMENSIONS)
    for query in queries:
        index.search(query, 10)
    print(json.dumps({name: used - before[name] for name, used in resident_bytes().items()}))


def resident_bytes() -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) * 1024 for name, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


def seconds(act: Any) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _unit(vectors: NDArray[np.float64]) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


if __name__ == "__main__":
    main()
