"""Evaluations as pictures, drawn without a display: measures with their intervals, what changed, and calibrations."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rag.evaluate.bootstrap import Estimate
    from rag.evaluate.calibrate import Fitted
    from rag.evaluate.compare import Comparison
    from rag.evaluate.reliability import Bin
    from rag.evaluate.report import Report

DOTS_PER_INCH: Final = 120
ROW_INCHES: Final = 0.34
# Told apart also without their colours: certain changes are filled, the others hollow.
BETTER, WORSE, UNSURE = "#1b7f4d", "#b3372e", "#6b6b6b"
SPREAD: Final = {"retrieval": "ndcg@10", "answers": "f1"}
"""The measure whose questions are shown one by one."""


def draw_report(report: "Report", path: Path) -> None:
    """Draw a report: its measures, and how one of them is spread over the questions."""
    estimates = report.estimates()
    figure = _figure(rows=len(estimates), width=11)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _measures(left, estimates)
    _spread(right, report, SPREAD[report.kind])
    figure.suptitle(f"{report.kind.capitalize()} on {report.collection}: {len(report.cases)} questions", fontsize=11)
    _save(figure, path)


def draw_comparison(comparison: "Comparison", path: Path) -> None:
    """Draw how each measure changed, with the interval of the change."""
    changes = comparison.changes
    figure = _figure(rows=len(changes), width=8)
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=0.8)
    for row, change in enumerate(changes):
        colour = (BETTER if change.difference.value > 0 else WORSE) if change.is_certain else UNSURE
        _dot(axes, row, change.difference, colour, filled=change.is_certain)
        _label(axes, row, change.difference, f"{100 * change.difference.value:+.1f}")
    _rows(axes, [change.measure for change in changes])
    axes.set_xlabel("change in percentage points, 95 % interval (filled: beyond chance)")
    figure.suptitle(
        f"{comparison.kind.capitalize()} on {comparison.collections[0]}, {comparison.questions} questions", fontsize=11
    )
    _save(figure, path)


def draw_calibration(fitted: "Fitted", report: "Report", path: Path) -> None:
    """Draw what each threshold answers and refuses, and whether what is said to be right is."""
    figure = _figure(rows=8, width=11)
    left, right = figure.subplots(1, 2)
    _thresholds(left, fitted)
    _reliability(right, fitted.after.bins)
    figure.suptitle(
        f"Calibration of {report.setup.get('model', '')} on {report.collection}: "
        f"{fitted.after.questions} questions that were not fitted on",
        fontsize=11,
    )
    _save(figure, path)


def _thresholds(axes: "Axes", fitted: "Fitted") -> None:
    curve = fitted.after.curve
    lines = {
        "answerable answered": ("-", [point.answered_of_answerable for point in curve]),
        "unanswerable refused": ("--", [point.refused_of_unanswerable for point in curve]),
        "right of the answers": (":", [point.precision for point in curve]),
    }
    for name, (style, shares) in lines.items():
        shown = [math.nan if share is None else 100 * share for share in shares]
        axes.plot([point.threshold for point in curve], shown, style, label=name)
    axes.axvline(fitted.calibration.threshold, color=UNSURE, linewidth=0.8)
    axes.set_xlabel("threshold (the line: the one in effect)")
    axes.set_ylabel("per cent")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _reliability(axes: "Axes", bins: "Sequence[Bin]") -> None:
    """Show how many are right of those that are said to be so likely; a dot's area grows with their number."""
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.8)
    most = max(one.answers for one in bins)
    axes.scatter(
        [100 * one.likely for one in bins],
        [100 * one.right for one in bins],
        s=[20 + 180 * one.answers / most for one in bins],
        color="#22577a",
    )
    axes.set_xlabel("confidence, per cent")
    axes.set_ylabel("right, per cent")
    axes.spines[["top", "right"]].set_visible(False)


def _measures(axes: "Axes", estimates: dict[str, "Estimate"]) -> None:
    for row, estimate in enumerate(estimates.values()):
        _dot(axes, row, estimate, "#22577a", filled=True)
        _label(axes, row, estimate, f"{100 * estimate.value:.1f}")
    _rows(axes, list(estimates))
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("per cent, with 95 % interval")


def _spread(axes: "Axes", report: "Report", measure: str) -> None:
    """Show how many questions got which score: a mean of .7 may be many middling ones, or most right and some wrong."""
    values = [case.scores[measure] for case in report.cases if measure in case.scores]
    axes.hist(values, bins=10, range=(0, 1), color="#8fb8cf", edgecolor="white")
    axes.set_xlabel(f"{measure} of a question")
    axes.set_ylabel("questions")
    axes.spines[["top", "right"]].set_visible(False)


def _dot(axes: "Axes", row: int, estimate: "Estimate", colour: str, *, filled: bool) -> None:
    value = 100 * estimate.value
    if estimate.low is not None and estimate.high is not None:
        axes.plot([100 * estimate.low, 100 * estimate.high], [row, row], color=colour, linewidth=2, alpha=0.6)
    axes.plot([value], [row], "o", color=colour, markerfacecolor=colour if filled else "white", markersize=6)


def _label(axes: "Axes", row: int, estimate: "Estimate", text: str) -> None:
    place = 100 * max(estimate.value, estimate.high or estimate.value)
    axes.annotate(text, (place, row), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8)


def _rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)


def _figure(*, rows: int, width: float) -> "Figure":
    # Not pyplot, which looks for a display and keeps every figure.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 1.5 + ROW_INCHES * max(rows, 4)), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    beside = path.with_suffix(".new")
    figure.savefig(beside, format="png", dpi=DOTS_PER_INCH)
    beside.replace(path)
