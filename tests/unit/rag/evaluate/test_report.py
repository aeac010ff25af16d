import json
from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import InvalidCollection
from rag.evaluate.compare import compare
from rag.evaluate.compare import markdown as compared_markdown
from rag.evaluate.report import Case, Report, load_report, markdown, public

MEASURES = {"f1": ("f1",), "balanced": ("yes", "no"), "unasked": ("unasked",)}


def report(*f1: float, kind: str = "answers") -> Report:
    cases = [
        Case(id=str(i), question=f"Q{i}?", scores={"f1": score, "yes" if i % 2 else "no": 1.0}, milliseconds=i)
        for i, score in enumerate(f1)
    ]
    return Report(kind=kind, collection="soil", measures=MEASURES, cases=cases, setup={"model": "a|b"})


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(public(report(0.5, 1.0, 0.0))))
    again = load_report(tmp_path / "report.json")
    assert public(again) == public(report(0.5, 1.0, 0.0))


@pytest.mark.parametrize("content", ["{}", "[]", "no", '{"format": 2}', '{"format": 1, "cases": [{}]}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidCollection, match="is not a report"):
        load_report(tmp_path / "a.json")


def test_measures_say_of_how_many_questions_they_are() -> None:
    measures = public(report(0.5, 1.0, 0.0))["measures"]
    assert {name: (one["value"], one["questions"]) for name, one in measures.items()} == {
        "f1": (0.5, 3),
        "balanced": (1.0, 3),
    }


def test_people_read_per_cent_and_intervals() -> None:
    lines = markdown(report(0.5, 1.0, 0.0)).splitlines()
    assert lines[0] == "# Answers on soil"
    assert "| f1 | 50.0 | 0.0 to 100.0 | 3 |" in lines
    assert "| model | a/b |" in lines


def test_a_gain_on_every_question_is_certain_and_one_on_half_is_not() -> None:
    before = report(*([0.2] * 30))
    sure, unsure = compare(before, report(*([0.3] * 30))), compare(before, report(*([0.0, 0.4] * 15)))
    assert [(change.measure, change.is_certain) for change in sure.changes] == [("f1", True), ("balanced", False)]
    assert (sure.changes[0].better, sure.changes[0].worse, sure.changes[0].same) == (30, 0, 0)
    assert not unsure.changes[0].is_certain
    assert "| f1 | 20.0 | 30.0 | +10.0 | 10.0 to 10.0 | yes | 30 / 0 / 0 |" in compared_markdown(sure)


def test_what_differs_in_how_two_runs_were_made_is_told() -> None:
    before, after = report(0.5, 0.5), replace(report(0.5, 0.7), setup={"model": "b", "chunks": 3})
    assert compare(before, after).setup == {"model": ("a|b", "b"), "chunks": ("", "3")}


def test_only_questions_of_both_runs_count() -> None:
    comparison = compare(report(0.5, 0.5), report(0.5, 0.7, 0.9))
    assert (comparison.questions, comparison.left_out) == (2, 1)


def test_runs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InvalidCollection, match="One report is of answers, the other of retrieval"):
        compare(report(0.5), report(0.5, kind="retrieval"))
    with pytest.raises(InvalidCollection, match="no question in common"):
        compare(report(0.5), report())
