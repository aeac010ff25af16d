"""What a check says of files as wholes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.data.check import check
from finetune.data.lengths import Estimate

LONG = "The quick brown fox jumps over the lazy dog and then goes home to have a long supper with all of its friends."


def record(number: int, output: str = "Yes.") -> dict[str, str]:
    return {"instruction": f"Is {number * number * 7919} a number?", "output": output}


TEN = [record(number) for number in range(10)]


def found(path: Path, **options: Any) -> list[tuple[str, str]]:
    report, _ = check(path, meter=Estimate(), **options)
    return [(str(problem.place), problem.code) for problem in report.problems]


def test_a_clean_file_has_nothing_and_can_be_used(write: Callable[..., Path]) -> None:
    report, validation = check(write(*TEN), meter=Estimate())
    assert report.dataset is not None
    assert (len(report.dataset.examples), len(report.problems), validation) == (10, 0, None)
    assert (report.records, report.examples, report.exact, len(report.lengths.longest)) == (10, 10, False, 10)


def test_every_record_is_an_example_or_has_an_error(write: Callable[..., Path]) -> None:
    report, _ = check(write(*TEN, {"instruction": "a"}, {"b": 1}), meter=Estimate())
    assert (report.records, report.examples, report.problems.errors, report.dataset) == (12, 10, 2, None)


def test_fewer_than_ten_examples_warn(write: Callable[..., Path]) -> None:
    assert found(write(*TEN[:9])) == [("the file", "few_examples")]


def test_repetition_names_the_first_of_it(write: Callable[..., Path]) -> None:
    near = {"instruction": LONG.replace("quick", "fast"), "output": LONG}
    report, _ = check(write(*TEN, TEN[3], {"instruction": LONG, "output": LONG}, near), meter=Estimate())
    assert [(str(problem.place), problem.code, problem.reason) for problem in report.problems] == [
        ("line 11", "duplicate", "repeats line 4"),
        ("line 13", "near_duplicate", "nearly repeats line 12"),
    ]


def test_what_the_validation_file_repeats_is_reported_there(write: Callable[..., Path]) -> None:
    held_out = write(record(50), TEN[2], record(50), name="valid.jsonl")
    report, validation = check(write(*TEN), meter=Estimate(), validation=held_out)
    assert validation is not None
    assert [(problem.place.line, problem.code, problem.reason) for problem in validation.problems] == [
        (2, "in_validation", "repeats line 3 of the training file"),
        (3, "duplicate", "repeats line 1"),
    ]
    assert len(report.problems) == 0


def test_a_validation_file_of_another_kind_is_refused(write: Callable[..., Path]) -> None:
    held_out = write({"prompt": "a", "chosen": "b", "rejected": "c"}, name="valid.jsonl")
    _, validation = check(write(*TEN), meter=Estimate(), validation=held_out)
    assert validation is not None
    assert [problem.reason for problem in validation.problems] == [
        "holds preference examples, and the training file supervised ones"
    ]


@pytest.mark.parametrize(
    ("method", "codes"), [("supervised", []), ("dpo", ["wrong_method"]), ("kto", ["wrong_method"])]
)
def test_a_file_must_be_of_the_methods_kind(write: Callable[..., Path], method: str, codes: list[str]) -> None:
    assert [code for _, code in found(write(*TEN), method=method)] == codes


def test_one_label_throughout_warns(write: Callable[..., Path]) -> None:
    labelled = [{"prompt": f"What is {number * 7919}?", "completion": "It.", "label": False} for number in range(10)]
    assert found(write(*labelled)) == [("the file", "one_label")]
    assert found(write(*labelled[1:], {**labelled[0], "label": True})) == []


def test_a_limit_warns_of_what_is_cut_and_refuses_nothing_on_an_estimate(write: Callable[..., Path]) -> None:
    path = write(*TEN[1:], record(0, LONG))
    assert found(path, limit=30) == [("line 10", "cut")]
    report, _ = check(path, meter=Estimate(), limit=30)
    assert (report.cut, report.lengths.lost > 0) == (1, True)
    assert [code for _, code in found(write(*TEN[:9], {"instruction": LONG, "output": "Yes."}), limit=24)] == ["cut"]
