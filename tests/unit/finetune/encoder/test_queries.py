"""A training file's queries, and those of them that are held out."""

from finetune.encoder.queries import Query, merged, passages_of, split
from finetune.types import Retrieval


def queries(count: int) -> list[Query]:
    return [Query(text=f"query {number}", passages=(f"passage {number}",)) for number in range(count)]


def test_rows_of_one_query_are_one_query_and_what_is_right_once_is_never_wrong() -> None:
    rows = [
        Retrieval(query="q", passages=("a",), negatives=("b", "c")),
        Retrieval(query="r", passages=("d",)),
        Retrieval(query="q", passages=("b", "a"), negatives=("e",)),
    ]
    assert merged(rows) == (
        Query(text="q", passages=("a", "b"), negatives=("c", "e")),
        Query(text="r", passages=("d",)),
    )


def test_a_tenth_is_held_out_always_the_same_whatever_the_order() -> None:
    parts, again = split(queries(50), None), split(queries(50)[::-1], None)
    assert (len(parts.training), len(parts.held_out)) == (45, 5)
    assert set(parts.held_out) == set(again.held_out)
    assert set(parts.training) | set(parts.held_out) == set(queries(50))
    assert "5 of the 50 queries" in parts.how


def test_one_query_is_trained_on_and_nothing_is_held_out() -> None:
    parts = split(queries(1), None)
    assert (len(parts.training), parts.held_out) == (1, ())


def test_a_query_of_both_files_is_trained_on_and_does_not_count() -> None:
    parts = split(queries(3), [*queries(1), Query(text="new", passages=("a",))])
    assert [query.text for query in parts.held_out] == ["new"]
    assert "1 queries of the validation file (1 more" in parts.how


def test_every_passage_is_given_once() -> None:
    twice = [Query(text="q", passages=("a", "b"), negatives=("c",)), Query(text="r", passages=("b",))]
    assert passages_of(twice) == ("a", "b", "c")
