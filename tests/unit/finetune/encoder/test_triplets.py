"""Rows of a query, a right passage and wrong ones."""

import pytest

from finetune.encoder import triplets
from finetune.encoder.queries import Query
from finetune.encoder.triplets import Row, rows_of
from finetune.errors import TrainingFailed


def test_every_right_passage_has_a_row() -> None:
    rows = rows_of([Query(text="q", passages=("a", "b"))], [("c",)])
    assert rows == [Row(query=0, passage="a", negatives=("c",)), Row(query=0, passage="b", negatives=("c",))]


def test_rows_are_equally_wide_and_what_was_mined_fills_them() -> None:
    queries = [Query(text="q", passages=("a",), negatives=("c", "d")), Query(text="r", passages=("b",))]
    assert [row.negatives for row in rows_of(queries, [(), ("e", "f")])] == [("c", "d"), ("e", "f")]


def test_what_is_too_little_is_repeated() -> None:
    queries = [Query(text="q", passages=("a",), negatives=("c", "d")), Query(text="r", passages=("b",))]
    assert [row.negatives for row in rows_of(queries, [(), ("e",)])] == [("c", "d"), ("e", "e")]


def test_no_wrong_passage_of_the_file_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triplets, "MOST_COLUMNS", 2)
    rows = rows_of([Query(text="q", passages=("a",), negatives=("c", "d", "e"))], [()])
    assert [row.negatives for row in rows] == [("c", "d"), ("e", "c")]


def test_a_query_without_wrong_passages_is_told_apart_from_anothers() -> None:
    queries = [Query(text="q", passages=("a",)), Query(text="r", passages=("a", "b"))]
    assert rows_of(queries, [(), ("c",)])[0] == Row(query=0, passage="a", negatives=("b",))


def test_one_passage_for_every_query_is_refused() -> None:
    queries = [Query(text="q", passages=("a",)), Query(text="r", passages=("a",))]
    with pytest.raises(TrainingFailed, match="nothing to tell apart"):
        rows_of(queries, [(), ()])
