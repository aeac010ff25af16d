"""Which statements of an answer are borne out, and what each policy makes of those that are not."""

from collections.abc import Sequence

import pytest

from rag.cite import CitationFilter, verified
from rag.support import Judge, Policy, Support, enforced
from rag.types import ChunkId, Citation, Hit, Passage
from tests.fakes.embedder import WordEmbedder

TEXTS = (
    "Loam holds water well. It drains in spring, too.",
    "Employees have thirty days of leave a year. Trains are booked by the front desk.",
)
SOURCES = [
    Hit(
        passage=Passage(chunk_id=ChunkId(number), file_id="file-1", filename="a.md", text=text, start=0, end=len(text)),
        score=0.9,
        rank=number,
    )
    for number, text in enumerate(TEXTS, start=1)
]


class Yes:
    """An entailment model that says yes to what it was told, and remembers what it was asked."""

    def __init__(self, *known: str) -> None:
        self.known, self.asked = known, list[tuple[str, str]]()

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        self.asked += pairs
        return [0.9 if statement in self.known else 0.1 for _, statement in pairs]


def cited(text: str) -> tuple[str, list[Citation]]:
    filter_ = CitationFilter(SOURCES)
    sent = filter_.feed(text) + filter_.finish()
    return sent, filter_.citations


def judged(text: str, judge: Judge = Judge()) -> tuple[str, list[Citation], tuple[Support, ...]]:  # noqa: B008
    sent, citations = cited(text)
    return sent, citations, judge.assess(sent, citations, SOURCES)


@pytest.mark.parametrize(
    ("text", "supported", "how"),
    [
        ("Loam holds water well. [1]", True, "quote"),
        ("Employees get thirty days of leave. [2]", True, "words"),
        ("Employees have forty days of paid parental holidays abroad.", False, "words"),
        ("Employees have 40 days of leave a year.", False, "words"),
        ("Trains are booked by the front desk.", True, "quote"),  # by a source that it does not cite
        ("So it is.", False, "words"),
    ],
)
def test_a_statement_is_a_quote_or_close_by_its_words(text: str, supported: bool, how: str) -> None:
    _, _, (one,) = judged(text)
    assert (one.supported, one.how) == (supported, how)


def test_a_statement_is_held_against_what_it_cites_and_not_against_the_rest() -> None:
    text, citations = cited("Loam holds water well. [1]")
    elsewhere = [Citation(**{name: getattr(citations[0], name) for name in Citation.__slots__} | {"chunk_id": 2})]
    (one,) = Judge().assess(text, elsewhere, SOURCES)
    assert not one.supported


def test_a_model_decides_where_there_is_one_and_no_quote() -> None:
    model = Yes("Workers get a month off.")
    text = "Loam holds water well. [1] Workers get a month off. Pigs fly."
    _, _, found = judged(text, Judge(entailment=model))
    assert [(one.supported, one.how, one.score) for one in found] == [
        (True, "quote", 1.0),
        (True, "entailment", 0.9),
        (False, "entailment", 0.1),
    ]
    assert model.asked[2] == ("\n\n".join(TEXTS), "Workers get a month off.")


def test_meaning_counts_beside_words_and_a_missing_number_overrules_both() -> None:
    judge = Judge(embedder=WordEmbedder())
    _, _, found = judged("Employees have leave of thirty days a year. Employees have 31 days of leave a year.", judge)
    assert [(one.supported, one.how) for one in found] == [(True, "words and meaning"), (False, "words and meaning")]
    assert found[0].score == pytest.approx(1.0, abs=0.2)
    assert found[1].score == 0.0


ANSWER = "Pigs fly high. Loam holds water well. [1] Cats bark loudly. Trains are booked by the front desk. [2]"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy.KEEP, ANSWER),
        (
            Policy.MARK,
            "Pigs fly high. [unsupported] Loam holds water well. [1] Cats bark loudly. [unsupported]"
            " Trains are booked by the front desk. [2]",
        ),
        (Policy.DROP, "Loam holds water well. [1] Trains are booked by the front desk. [2]"),
    ],
)
def test_what_a_policy_leaves_has_its_citations_where_they_say(policy: Policy, expected: str) -> None:
    text, citations, supports = judged(ANSWER)
    text, moved, left = enforced(text, citations, supports, policy)
    assert text == expected
    assert len(moved) == 2 and verified(moved, text, SOURCES) == moved
    assert [text[one.start : one.end] for one in left if one.supported] == [
        "Loam holds water well. [1]",
        "Trains are booked by the front desk. [2]",
    ]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("- Pigs fly high.\n- Loam holds water well. [1]\n", "- Loam holds water well. [1]\n"),
        ("- Loam holds water well. [1]\n- Pigs fly high.", "- Loam holds water well. [1]"),
        ("1. Pigs fly high. Loam holds water well. [1]", "1. Loam holds water well. [1]"),
        ("Loam holds water well. [1]\nPigs fly high.\n\nTrains are booked by the front desk.", None),
        ("Pigs fly high.", ""),
    ],
)
def test_what_is_dropped_leaves_no_list_marker_behind(text: str, left: str | None) -> None:
    sent, citations, supports = judged(text)
    dropped, moved, _ = enforced(sent, citations, supports, Policy.DROP)
    assert dropped == (left if left is not None else sent.replace("Pigs fly high.\n", ""))
    assert verified(moved, dropped, SOURCES) == moved
