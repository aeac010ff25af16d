import pytest

from rag.cite import CitationFilter
from rag.statements import statements
from rag.types import ChunkId, Citation, Hit, Passage

TEXTS = ("Loam holds water. It drains well too.", "Clay is dense. Clay holds water.")


def hit(number: int) -> Hit:
    text = TEXTS[number - 1]
    passage = Passage(chunk_id=ChunkId(number), file_id="file-1", filename="soil.md", text=text, start=0, end=len(text))
    return Hit(passage=passage, score=0.9, rank=number)


def cited(text: str) -> tuple[str, list[Citation]]:
    filter_ = CitationFilter([hit(1), hit(2)])
    sent = filter_.feed(text) + filter_.finish()
    return sent, filter_.citations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Loam holds water. [1] Clay is dense [2].", [("Loam holds water.", (1,)), ("Clay is dense.", (2,))]),
        ("Loam holds water [1][2]. Yes.", [("Loam holds water.", (1, 2)), ("Yes.", ())]),
        ("Clay is dense [2] and clay holds water [2].", [("Clay is dense and clay holds water.", (2,))]),
        ("Nothing is cited.", [("Nothing is cited.", ())]),
        ("", []),
    ],
)
def test_a_mark_belongs_to_the_sentence_that_it_stands_in_or_after(
    text: str, expected: list[tuple[str, tuple[int, ...]]]
) -> None:
    assert [(one.text, one.cited) for one in statements(*cited(text))] == expected


def test_a_statement_ends_after_its_marks() -> None:
    text, citations = cited("Loam holds water. [1] Clay is dense [2]. ")
    assert [text[one.span.start : one.end] for one in statements(text, citations)] == [
        "Loam holds water. [1]",
        "Clay is dense [2].",
    ]
