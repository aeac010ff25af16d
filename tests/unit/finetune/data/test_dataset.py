"""A file is a Dataset, or every problem in it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.data.dataset import Reading, read
from finetune.data.problems import Place
from finetune.errors import InvalidDataset, UnreadableFile
from finetune.types import Kind, Supervised, Turn

ALPACA = {"instruction": "Say hello.", "output": "Hello."}
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}


def found(path: Path) -> list[tuple[str, str, str]]:
    reading = Reading(path)
    list(reading)
    return [(str(problem.place), problem.code, problem.field) for problem in reading.problems]


def test_a_clean_file_is_a_dataset(write: Callable[..., Path]) -> None:
    path = write(ALPACA, {**ALPACA, "output": "Good day."})
    dataset = read(path)
    assert (dataset.format.name, dataset.format.kind, len(dataset.examples)) == ("alpaca", Kind.SUPERVISED, 2)
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.examples[1] == Supervised(
        messages=(
            Turn(role="user", content="Say hello."),
            Turn(role="assistant", content="Good day.", trained=True),
        )
    )


@pytest.mark.parametrize("indent", [None, 2])
def test_examples_are_read_again_as_they_were_read_first(write: Callable[..., Path], indent: int | None) -> None:
    records = [ALPACA, {"instruction": 3}, {**ALPACA, "output": "Grüße 🙂"}, ALPACA]
    reading = Reading(write(raw=json.dumps(records, indent=indent, ensure_ascii=False).encode()))
    first = [(place, example) for place, example in reading]
    assert [(reading.examples.place(index), one) for index, one in enumerate(reading.examples)] == first
    assert reading.examples[-1] == first[-1][1]
    assert reading.examples[1:] == [example for _, example in first[1:]]


def test_every_problem_is_reported_and_not_the_first_alone(write: Callable[..., Path]) -> None:
    path = write({"instruction": 3}, ALPACA, {"output": "x"}, {**ALPACA, "output": None})
    assert found(path) == [
        ("line 1", "wrong_type", "instruction"),
        ("line 1", "missing_key", "output"),
        ("line 3", "missing_key", "instruction"),
        ("line 4", "wrong_type", "output"),
    ]


def test_an_invalid_file_raises_with_all_its_problems(write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidDataset) as refused:
        read(write(ALPACA, {"instruction": "a"}, {"instruction": "b"}))
    assert str(refused.value) == (
        "'train.jsonl' cannot be used for training: 2 errors. Line 2, output: is missing. Add it."
    )
    assert refused.value.problems.errors == 2


def test_records_of_another_format_are_refused_by_name(write: Callable[..., Path]) -> None:
    reading = Reading(write(CHAT, ALPACA))
    assert len(list(reading)) == 1
    (problem,) = reading.problems
    assert problem.sentence() == "Line 2: reads as alpaca, but the file begins as openai_chat in line 1."


@pytest.mark.parametrize(
    ("record", "code"),
    [({"text": "Once upon a time."}, "raw_text"), ({"a": 1}, "unknown_format"), ({}, "unknown_format")],
)
def test_what_has_no_format_is_refused(write: Callable[..., Path], record: dict[str, object], code: str) -> None:
    assert found(write(record)) == [("line 1", code, "")]


def test_a_record_without_the_files_key_says_which(write: Callable[..., Path]) -> None:
    reading = Reading(write(CHAT, {"text": "hello"}))
    list(reading)
    (problem,) = reading.problems
    assert problem.reason == "has no 'messages', which openai_chat needs; its keys are 'text'"


def test_unknown_keys_warn(write: Callable[..., Path]) -> None:
    path = write({**ALPACA, "id": 7})
    assert found(path) == [("line 1", "unknown_key", "id")]
    assert len(read(path).examples) == 1


def test_named_media_is_refused(write: Callable[..., Path]) -> None:
    assert found(write({**CHAT, "images": ["a.png"]})) == [("line 1", "media", "images")]


@pytest.mark.parametrize("raw", [b"", b" \n\t\n", b"[]"])
def test_a_file_of_nothing_is_refused(write: Callable[..., Path], raw: bytes) -> None:
    assert found(write(raw=raw)) == [("the file", "empty_file", "")]


def test_array_items_are_named_by_index_and_line(write: Callable[..., Path]) -> None:
    assert found(write(raw=b'[\n{"instruction": "a", "output": "b"},\n{"instruction": "a"}\n]')) == [
        ("item 1 (line 3)", "missing_key", "output")
    ]
    assert Place(3, 1) < Place(4, 0)


def test_an_item_that_is_not_json_is_named_and_the_rest_is_read(write: Callable[..., Path]) -> None:
    assert found(write(raw=b'[\n{"instruction": a},\n{"instruction": "a"}\n]')) == [
        ("item 0 (line 2)", "json", ""),
        ("item 1 (line 3)", "missing_key", "output"),
    ]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"'none.jsonl' cannot be read: No such file or directory\."):
        read(tmp_path / "none.jsonl")
