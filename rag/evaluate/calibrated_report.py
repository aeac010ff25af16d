"""A calibration for people and for programs: what it does to the questions that it was not fitted on."""

from dataclasses import asdict
from typing import Any

from rag.evaluate.calibrate import Fitted
from rag.evaluate.reliability import Point
from rag.evaluate.report import Report, percent, table

SHARES = ("answerable answered", "unanswerable refused", "balanced accuracy", "right of the answers")


def public(fitted: Fitted, report: Report) -> dict[str, Any]:
    """Give a calibration as JSON has it; its figures are of the questions that were not fitted on."""
    return {"kind": "calibration", "collection": report.collection, "setup": dict(report.setup), **asdict(fitted)}


def markdown(fitted: Fitted, report: Report) -> str:
    """Give a calibration for people."""
    calibration = fitted.calibration
    aside = f" {fitted.left_out} have no known answer and count for nothing." if fitted.left_out else ""
    weights = [[name, f"{weight:.2f}"] for name, weight in calibration.weights.items()]
    tables = (
        _before_and_after(fitted),
        _curve(fitted),
        table(["feature", "weight"], [*weights, ["intercept", f"{calibration.intercept:.2f}"]]),
        table(["setup", ""], [[name, str(value)] for name, value in report.setup.items()]),
    )
    return "\n".join(
        [
            f"# Calibration of {report.setup.get('model', '')} on {report.collection}",
            "",
            f"Fitted on {fitted.fitted_on} questions; the figures are of {fitted.after.questions} others.{aside}",
            f"In per cent. An answer counts from {calibration.threshold:.3f} on, as do",
            f"{percent(fitted.answer_share)} % of the right ones that were fitted on. Before, each answer counts.",
            "",
            *(line for one in tables for line in (*one, "")),
        ]
    )


def _before_and_after(fitted: Fitted) -> list[str]:
    before, after = fitted.before, fitted.after
    shares = zip(SHARES, _shares(before.at_threshold), _shares(after.at_threshold), strict=True)
    errors = ["calibration error", percent(before.calibration_error), percent(after.calibration_error)]
    brier = ["Brier score", f"{before.brier:.3f}", f"{after.brier:.3f}"]
    return table(["", "before", "calibrated"], [*map(list, shares), errors, brier])


def _curve(fitted: Fitted) -> list[str]:
    points = sorted({*fitted.after.curve, fitted.after.at_threshold}, key=lambda point: point.threshold)
    return table(["threshold", *SHARES], [[f"{point.threshold:.3f}", *_shares(point)] for point in points])


def _shares(point: Point) -> list[str]:
    found = (point.answered_of_answerable, point.refused_of_unanswerable, point.balanced_accuracy, point.precision)
    return ["" if share is None else percent(share) for share in found]
