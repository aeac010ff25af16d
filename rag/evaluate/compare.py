"""Two runs over the same questions: what changed, by how much, and whether that may be chance."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag.errors import InvalidCollection
from rag.evaluate.bootstrap import LEVEL, Estimate, difference, measure_of
from rag.evaluate.report import Report, interval, percent, table

SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a measure changed. `better`, `worse` and `same` count the questions that both runs have a score for."""

    measure: str
    before: float
    after: float
    difference: Estimate
    better: int
    worse: int
    same: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`questions` are in both runs; `left_out` in one only, and count for nothing.

    `setup` names what is not the same in how the two were made, with both values.
    """

    kind: str
    collections: tuple[str, str]
    changes: tuple[Change, ...]
    questions: int
    left_out: int
    setup: Mapping[str, tuple[str, str]]


def compare(before: Report, after: Report) -> Comparison:
    """Compare two runs question by question. Raises InvalidCollection where they have nothing in common."""
    if before.kind != after.kind:
        raise InvalidCollection(f"One report is of {before.kind}, the other of {after.kind}.")
    asked = {case.id: case.question for case in before.cases}
    ids = [case.id for case in after.cases if asked.get(case.id) == case.question]
    if not ids:
        raise InvalidCollection("The two reports have no question in common.", hint="Compare runs over one collection.")
    measures = [name for name in before.measures if list(before.measures[name]) == list(after.measures.get(name, ()))]
    changes = [_change(measure, before, after, ids) for measure in measures]
    return Comparison(
        kind=before.kind,
        collections=(before.collection, after.collection),
        changes=tuple(change for change in changes if not np.isnan(change.difference.value)),
        questions=len(ids),
        left_out=len(asked.keys() | {case.id for case in after.cases}) - len(ids),
        setup=_differing(before.setup, after.setup),
    )


def markdown(comparison: Comparison) -> str:
    """Give a comparison for people."""
    rows = [
        [
            change.measure,
            percent(change.before),
            percent(change.after),
            f"{100 * change.difference.value:+.1f}",
            interval(change.difference),
            "yes" if change.is_certain else "no",
            f"{change.better} / {change.worse} / {change.same}",
        ]
        for change in comparison.changes
    ]
    columns = ["measure", "before", "after", "change", "interval", "beyond chance", "better / worse / same"]
    left_out = f" {comparison.left_out} are in one run only and left out." if comparison.left_out else ""
    return "\n".join(
        [
            f"# {comparison.kind.capitalize()}: {comparison.collections[0]}, before and after",
            "",
            f"{comparison.questions} questions in both runs.{left_out} In per cent. The interval of",
            f"{100 * LEVEL:.0f} % is of the change, questions drawn anew in pairs. Of many, some pass by chance.",
            "",
            *table(columns, rows),
            "",
            *table(["setup", "before", "after"], [[name, *both] for name, both in comparison.setup.items()]),
            "",
        ]
    )


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: (str(before.get(name, "")), str(after.get(name, ""))) for name in names}


def _change(measure: str, before: Report, after: Report, ids: list[str]) -> Change:
    first, then = before.scores(measure, ids), after.scores(measure, ids)
    gains = (then - first)[~np.isnan(then - first)]
    grown = difference(first, then)
    return Change(
        measure=measure,
        before=float(measure_of(first)),
        after=float(measure_of(then)),
        difference=grown,
        better=int((gains > SAME).sum()),
        worse=int((gains < -SAME).sum()),
        same=int((abs(gains) <= SAME).sum()),
    )
