"""Queries with the passages to be found."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune.types import Example, Retrieval

Reader = Callable[[dict[str, Any]], tuple[Example, list[tuple[str, str]]]]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"query": "q", "positive": "a"}, Retrieval(query="q", passages=("a",))),
        ({"query": "q", "pos": ["a", "b"], "neg": ["c"]}, Retrieval(query="q", passages=("a", "b"), negatives=("c",))),
        ({"query": "q", "passage": "a", "negatives": []}, Retrieval(query="q", passages=("a",))),
        (
            {"anchor": "q", "positive": "a", "negative_1": "b", "negative_2": "c"},
            Retrieval(query="q", passages=("a",), negatives=("b", "c")),
        ),
        ({"question": "q", "context": "a", "negative": "b"}, Retrieval(query="q", passages=("a",), negatives=("b",))),
    ],
)
def test_passages_are_read_under_their_common_names(
    read_row: Reader, record: dict[str, Any], expected: Retrieval
) -> None:
    assert read_row(record) == (expected, [])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"query": "q", "negatives": ["a"]}, [("missing_key", "passage")]),
        ({"anchor": "q"}, [("missing_key", "passage")]),
        ({"positive": "a", "negative": "b"}, [("missing_key", "anchor")]),
        ({"query": "q", "pos": []}, [("empty_list", "pos")]),
        ({"query": " ", "passage": ""}, [("empty_text", "query"), ("empty_text", "passage")]),
        ({"query": "q", "pos": ["a", " "]}, [("empty_text", "pos[1]")]),
        ({"query": 3, "passage": 4}, [("wrong_type", "query"), ("wrong_type", "passage")]),
        ({"query": "q", "pos": ["a", {"text": "b"}]}, [("wrong_type", "pos[1]")]),
        ({"query": "q", "passage": "a\0"}, [("nul", "passage")]),
        ({"query": "q", "pos": ["a"], "neg": ["b", "a"]}, [("right_and_wrong", "neg[1]")]),
    ],
)
def test_each_fault_is_found(read_row: Reader, record: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert read_row(record)[1] == expected
