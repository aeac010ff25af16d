"""ALCE's measures on answers whose right scores are known by hand."""

import pytest

from rag.evaluate.attribution import citation_precision, citation_recall, key_points
from rag.sentences import Span
from rag.statements import Statement
from rag.types import ChunkId

PASSAGES = {ChunkId(1): "a b", ChunkId(2): "c", ChunkId(3): "d"}


def holds(statement: str, text: str) -> bool:
    """A judge that wants every letter of the statement in the text."""
    return set(statement.split()) <= set(text.split())


def said(text: str, *cited: int) -> Statement:
    return Statement(text=text, span=Span(0, 0), end=0, cited=tuple(map(ChunkId, cited)))


@pytest.mark.parametrize(
    ("statements", "recall", "precision"),
    [
        ([said("a", 1)], 1.0, 1.0),
        ([said("a", 2)], 0.0, 0.0),
        ([said("a")], 0.0, None),
        ([said("a", 1), said("c")], 0.5, 1.0),
        ([said("a", 1, 3)], 1.0, 0.5),  # 3 neither supports it alone nor is missed
        ([said("a c", 1, 2)], 1.0, 1.0),  # only together
        ([said("a c", 1, 2, 3)], 1.0, 2 / 3),
        ([], 0.0, None),
    ],
)
def test_recall_is_of_statements_and_precision_of_citations(
    statements: list[Statement], recall: float, precision: float | None
) -> None:
    assert citation_recall(statements, PASSAGES, holds) == recall
    assert citation_precision(statements, PASSAGES, holds) == (precision and pytest.approx(precision))


def test_key_points_are_covered_by_what_was_said() -> None:
    assert key_points("a b c", ["a", "b c", "d"], holds) == pytest.approx(2 / 3)
