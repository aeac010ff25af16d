"""The loss curve of a training as a picture, drawn without a display."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

LINES: Final = {"train_loss": ("training", "-"), "valid_loss": ("validation", "o-")}
SIZE_INCHES = (8, 4.5)
DOTS_PER_INCH = 120


def draw(metrics: Iterable[Mapping[str, Any]], path: Path, *, title: str, unit: str | None) -> bool:
    """Draw the losses of each step, in a unit if they have one, into a PNG file; False where there are none."""
    rows = list(metrics)
    found = {name: points for name in LINES if (points := [(row["step"], row[name]) for row in rows if name in row])}
    if not found:
        return False
    # Not pyplot, which looks for a display and keeps every figure.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for name, points in found.items():
        label, mark = LINES[name]
        axes.plot(*zip(*points, strict=True), mark, label=label, markersize=3, linewidth=1.2)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(f"loss ({unit})" if unit else "loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    beside = path.with_suffix(".new")
    figure.savefig(beside, format="png", dpi=DOTS_PER_INCH)
    beside.replace(path)
    return True
