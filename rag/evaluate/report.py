"""What an evaluation found: a score a question and measure, kept so that two runs can be compared."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.errors import InvalidCollection
from rag.evaluate.bootstrap import LEVEL, Estimate, estimate

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with its scores, each 0 to 1; a measure that says nothing of it is not among them.

    `features` are what speaks for the answer that was `given` (`rag/confidence.py`); empty where there was none.
    """

    id: str
    question: str
    scores: Mapping[str, float]
    milliseconds: float = 0.0
    given: str = ""
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run over one collection. `setup` says how it was made, in the words that a reader of it needs.

    `measures` are in the order of reading; one names the scores whose means it is the mean of, mostly one.
    """

    kind: str
    collection: str
    measures: Mapping[str, Sequence[str]]
    cases: Sequence[Case]
    setup: Mapping[str, str | int | float] = field(default_factory=dict)

    def scores(self, measure: str, ids: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Give `float64 [questions, parts]` of a measure, NaN where it says nothing, of all or of these questions."""
        known = {case.id: case for case in self.cases}
        cases = self.cases if ids is None else [known[one] for one in ids]
        parts = self.measures[measure]
        return np.array([[case.scores.get(part, np.nan) for part in parts] for case in cases]).reshape(-1, len(parts))

    def estimates(self) -> dict[str, Estimate]:
        """Give each measure with its interval; those that say nothing of any question are left out."""
        found = {measure: estimate(self.scores(measure)) for measure in self.measures}
        return {measure: one for measure, one in found.items() if not np.isnan(one.value)}

    def counts(self) -> dict[str, int]:
        """Give how many questions each measure is of."""
        return {name: int((~np.isnan(self.scores(name))).any(axis=1).sum()) for name in self.measures}

    def milliseconds(self, share: float) -> float:
        """Give the time within which this share of the questions was done."""
        return float(np.quantile([case.milliseconds for case in self.cases], share)) if self.cases else 0.0


def public(report: Report) -> dict[str, Any]:
    """Give a report as JSON has it; `load_report` reads it again."""
    counts = report.counts()
    return {
        "format": FORMAT,
        "kind": report.kind,
        "collection": report.collection,
        "questions": len(report.cases),
        "setup": dict(report.setup),
        "milliseconds": {"p50": round(report.milliseconds(0.5), 2), "p95": round(report.milliseconds(0.95), 2)},
        "measures": {
            name: {"value": one.value, "low": one.low, "high": one.high, "questions": counts[name]}
            for name, one in report.estimates().items()
        },
        "parts": {name: list(parts) for name, parts in report.measures.items()},
        "cases": [
            {
                "id": case.id,
                "question": case.question,
                "given": case.given,
                "milliseconds": round(case.milliseconds, 2),
                "scores": dict(case.scores),
                "features": dict(case.features),
            }
            for case in report.cases
        ],
    }


def load_report(path: Path) -> Report:
    """Read a report. Raises InvalidCollection."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if read["format"] != FORMAT:
            raise ValueError(f"format {read['format']!r}")
        cases = [Case(**case) for case in read["cases"]]
        return Report(
            kind=read["kind"],
            collection=read["collection"],
            measures=read["parts"],
            cases=cases,
            setup=read["setup"],
        )
    except OSError as exc:
        raise InvalidCollection(f"{path} cannot be read: {exc.strerror}.") from exc
    except (ValueError, LookupError, TypeError) as exc:
        raise InvalidCollection(f"{path} is not a report.", hint="'loam eval' writes it as report.json.") from exc


def markdown(report: Report) -> str:
    """Give a report for people."""
    counts = report.counts()
    rows = [[name, percent(one.value), interval(one), str(counts[name])] for name, one in report.estimates().items()]
    setup = [[name, str(value)] for name, value in report.setup.items()]
    times = f"{report.milliseconds(0.5):.1f} ms for half of the questions, {report.milliseconds(0.95):.1f} ms for 95 %"
    return "\n".join(
        [
            f"# {report.kind.capitalize()} on {report.collection}",
            "",
            f"{len(report.cases)} questions. In per cent; the interval of {100 * LEVEL:.0f} % is of drawing them anew.",
            "",
            *table(["measure", "value", "interval", "questions"], rows),
            "",
            f"Time: {times}.",
            "",
            *table(["setup", ""], setup),
            "",
        ]
    )


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def interval(one: Estimate) -> str:
    return "" if one.low is None or one.high is None else f"{percent(one.low)} to {percent(one.high)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Give the lines of a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
