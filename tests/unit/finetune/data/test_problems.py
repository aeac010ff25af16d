"""Findings are kept once, with every place."""

import re
from pathlib import Path

import pytest

from finetune.data.problems import ERRORS, WARNINGS, Finding, Place, Problems, drawn_together

SOURCES = sorted((Path(__file__).parents[4] / "finetune").rglob("*.py"))


def test_problems_come_by_line() -> None:
    problems = Problems()
    missing, empty = Finding("missing_key", "output", "is missing"), Finding("unknown_key", "id", "is not used")
    for finding, line in ((empty, 1), (missing, 3), (empty, 2), (missing, 1)):
        problems.add(finding, Place(line))
    assert [(problem.place.line, problem.code) for problem in problems] == [
        (1, "unknown_key"),
        (1, "missing_key"),
        (2, "unknown_key"),
        (3, "missing_key"),
    ]


def test_groups_give_errors_first_and_each_finding_once() -> None:
    problems = Problems()
    for line in (1, 2):
        problems.add(Finding("unknown_key", "id", "is not used"), Place(line, line - 1))
    problems.add(Finding("empty_file", "", "holds no records"))
    assert [(finding.code, places) for finding, places in problems.groups()] == [
        ("empty_file", [Place(0)]),
        ("unknown_key", [Place(1, 0), Place(2, 1)]),
    ]
    assert (problems.errors, problems.warnings, len(problems)) == (1, 2, 3)


def test_a_problem_says_where_what_and_what_to_do() -> None:
    problems = Problems()
    problems.add(Finding("missing_key", "output", "is missing"), Place(4, 1))
    (problem,) = problems
    assert problem.sentence() == "Item 1 (line 4), output: is missing."
    assert (problem.severity, problem.remedy) == ("error", "Add it.")


def test_no_code_is_error_and_warning() -> None:
    assert ERRORS.keys() & WARNINGS.keys() == set()


@pytest.mark.parametrize("code", [*ERRORS, *WARNINGS])
def test_every_code_is_used(code: str) -> None:
    used = re.compile(rf'"{code}"')
    assert any(used.search(path.read_text(encoding="utf-8")) for path in SOURCES if path.name != "problems.py")


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([Place(0)], "the file"),
        ([Place(7)], "line 7"),
        ([Place(1), Place(2), Place(3), Place(9)], "lines 1-3, 9"),
        ([Place(12, 3)], "item 3 (line 12)"),
        ([Place(12, 3), Place(20, 4)], "items 3-4"),
    ],
)
def test_places_are_drawn_together(places: list[Place], said: str) -> None:
    assert drawn_together(places) == said


def test_places_beyond_the_most_are_counted() -> None:
    places = [Place(line) for line in (1, 3, 5, 6, 9)]
    assert drawn_together(places, most=2) == "lines 1, 3 and 3 more"
