"""`make bench`: the benchmarks, each in a process of its own; results as JSON, a table and a picture.

Figures of one run are to be compared with each other, never with those of another day: they drift
by a factor of two with what else the machine does. So nothing is asserted.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "bench-results"
ALONE = ("bench_embedding_tuning.py",)
"""Those that take many minutes; each is run by its own name."""


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    reports = {}
    benchmarks = [path for path in sorted(HERE.glob("bench_*.py")) if path.name not in ALONE]
    for path in benchmarks:
        name = path.stem.removeprefix("bench_")
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{path.stem}"]
        ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if ran.returncode:
            print(f"{name} failed with {ran.returncode}", file=sys.stderr)
            continue
        reports[name] = json.loads(ran.stdout)
        (RESULTS / f"{name}.json").write_text(ran.stdout, encoding="utf-8")
    for name, report in reports.items():
        print(f"\n{name}")
        for label, value in flattened(report):
            print(f"  {label:<60} {value}")
    draw(reports, RESULTS / "ratios.png")
    if len(reports) < len(benchmarks):
        sys.exit(1)


def flattened(report: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the leaves of a report under their dotted names, long lists left out."""
    for key, value in report.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            yield f"{prefix}{key}", round(value, 4) if isinstance(value, float) else value


def draw(reports: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw every ratio (a leaf whose name holds `ratio`) beside the line at 1."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [(f"{name}: {label}", value) for name, report in reports.items() for label, value in flattened(report)]
    ratios = [(label, value) for label, value in found if "ratio" in label and isinstance(value, int | float)]
    if not ratios:
        return
    labels, values = zip(*reversed(ratios), strict=True)
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.4 * len(labels)), layout="constrained")
    bars = axes.barh(labels, values)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("ratio")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
