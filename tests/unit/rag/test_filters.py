from typing import Any

import pytest

from rag.errors import InvalidFilter
from rag.filters import matches, parse_filter
from rag.ports import Comparison, Compound

ATTRIBUTES = {"year": 2024, "lang": "en", "draft": False, "rank": 1.5, "empty": ""}


def comparison(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


def test_nested_filters_are_read() -> None:
    given = {
        "type": "and",
        "filters": [
            comparison("gte", "year", 2023),
            {"type": "or", "filters": [comparison("in", "lang", ["en", "de"]), comparison("eq", "draft", True)]},
        ],
    }
    assert parse_filter(given) == Compound(
        "and",
        (
            Comparison("gte", "year", 2023),
            Compound("or", (Comparison("in", "lang", ("en", "de")), Comparison("eq", "draft", True))),
        ),
    )


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, "filters must be an object, not null"),
        ([], "filters must be an object, not an array"),
        ({}, "filters.type"),
        ({"type": "like", "key": "a", "value": "b"}, "filters.type"),
        ({"type": ["eq"], "key": "a", "value": "b"}, "filters.type"),
        ({"type": "eq", "value": "b"}, "filters.key is missing"),
        ({"type": "eq", "key": "a"}, "filters.value is missing"),
        ({"type": "eq", "key": "", "value": "b"}, "filters.key"),
        ({"type": "eq", "key": 1, "value": "b"}, "filters.key"),
        ({"type": "eq", "key": "a", "value": "b", "boost": 2}, "filters.boost"),
        ({"type": "eq", "key": "a", "value": None}, "filters.value"),
        ({"type": "eq", "key": "a", "value": ["b"]}, "filters.value"),
        ({"type": "eq", "key": "a", "value": float("nan")}, "filters.value"),
        ({"type": "gt", "key": "a", "value": True}, "filters.value"),
        ({"type": "in", "key": "a", "value": "b"}, "filters.value must be an array"),
        ({"type": "nin", "key": "a", "value": ["b", True]}, "filters.value[1]"),
        ({"type": "and"}, "filters.filters is missing"),
        ({"type": "or", "filters": {}}, "filters.filters must be an array"),
        ({"type": "or", "filters": [comparison("eq", "a", 1), 7]}, "filters.filters[1] must be an object"),
        ({"type": "or", "filters": [comparison("eq", "a", {})]}, "filters.filters[0].value"),
    ],
)
def test_the_error_names_the_place(given: object, place: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(given)
    assert place in str(caught.value)


def test_a_filter_nested_a_thousand_deep_is_refused() -> None:
    given: dict[str, Any] = comparison("eq", "a", 1)
    for _ in range(1000):
        given = {"type": "and", "filters": [given]}
    with pytest.raises(InvalidFilter, match="nested"):
        parse_filter(given)


@pytest.mark.parametrize(
    ("kind", "key", "value", "wanted"),
    [
        ("eq", "lang", "en", True),
        ("eq", "lang", "EN", False),
        ("eq", "year", 2024.0, True),
        ("eq", "year", "2024", False),
        ("eq", "draft", False, True),
        ("eq", "draft", 0, False),
        ("eq", "missing", "x", False),
        ("eq", "empty", "", True),
        ("ne", "lang", "en", False),
        ("ne", "lang", 1, True),
        ("ne", "missing", "x", True),
        ("gt", "year", 2023, True),
        ("gt", "year", 2024, False),
        ("gte", "year", 2024, True),
        ("lt", "rank", 2, True),
        ("lte", "rank", 1.5, True),
        ("lt", "lang", "fr", True),
        ("gt", "lang", 1, False),
        ("gte", "draft", 0, False),
        ("gt", "missing", 0, False),
        ("in", "lang", ["de", "en"], True),
        ("in", "draft", [0], False),
        ("in", "year", [], False),
        ("in", "missing", ["x"], False),
        ("nin", "lang", ["de", "en"], False),
        ("nin", "lang", ["de"], True),
        ("nin", "missing", ["x"], True),
        ("nin", "year", [], True),
    ],
)
def test_meaning_of_a_comparison(kind: str, key: str, value: object, wanted: bool) -> None:
    assert matches(parse_filter(comparison(kind, key, value)), ATTRIBUTES) is wanted


@pytest.mark.parametrize(
    ("kind", "parts", "wanted"),
    [
        ("and", [comparison("eq", "lang", "en"), comparison("gt", "year", 2000)], True),
        ("and", [comparison("eq", "lang", "en"), comparison("gt", "year", 3000)], False),
        ("or", [comparison("eq", "lang", "de"), comparison("gt", "year", 2000)], True),
        ("or", [comparison("eq", "lang", "de"), comparison("gt", "year", 3000)], False),
        ("and", [], True),
        ("or", [], False),
    ],
)
def test_meaning_of_a_compound(kind: str, parts: list[Any], wanted: bool) -> None:
    assert matches(parse_filter({"type": kind, "filters": parts}), ATTRIBUTES) is wanted
