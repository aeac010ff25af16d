"""Floors for the extractive answerer: what it quotes, when it abstains, and that every quote is exact.

The coefficients were fitted on every second article (`half` 0); all floors hold on the others too.
Takes some minutes: all questions are asked, each sentence is embedded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest

from rag.cite import quote, verified
from rag.evaluate.overlap import containment
from rag.extract import Extract, extract
from tests.quality.asked import Asked, Kind, rounds
from tests.quality.kept import open_kept

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    round: str
    asked: Asked
    found: Extract
    exact: bool


@pytest.fixture(scope="module")
def outcomes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    embedder = open_kept()
    outcomes = []
    for one in rounds(shared_data, embedder, tmp_path_factory.mktemp("stores")):
        # Of the five thousand of one round every second one, which tells the same in half of the time.
        chosen = one.asked[:: 2 if one.name == "squad" else 1]
        embedder.embed([asked.question for asked in chosen])
        for asked in chosen:
            hits = one.search(asked.question)
            found = extract(asked.question, hits, embedder)
            text, citations = quote(found.quotes)
            exact = len(citations) == len(found.quotes) and verified(citations, text, hits) == citations
            outcomes.append(Outcome(round=one.name, asked=asked, found=found, exact=exact))
    return outcomes


def answered(outcomes: Sequence[Outcome], kind: Kind, half: int | None = None) -> float:
    return mean(one.found.answered for one in outcomes if one.asked.kind is kind and half in (None, one.asked.half))


def contains_answer(outcome: Outcome) -> float:
    return containment(outcome.found.quotes[0].text, [text for _, text in outcome.asked.answers])


def test_the_quoted_sentence_contains_the_answer(outcomes: list[Outcome]) -> None:
    answerable = [one for one in outcomes if one.asked.kind is Kind.ANSWERABLE]
    assert mean(contains_answer(one) for one in answerable) >= 0.80
    assert mean(contains_answer(one) for one in answerable if one.asked.half == 1) >= 0.80


def test_questions_that_the_documents_answer_are_answered(outcomes: list[Outcome]) -> None:
    assert answered(outcomes, Kind.ANSWERABLE) >= 0.90
    assert answered(outcomes, Kind.ANSWERABLE, half=1) >= 0.90


def test_questions_about_other_documents_are_refused(outcomes: list[Outcome]) -> None:
    assert answered(outcomes, Kind.FOREIGN) <= 0.03
    assert answered(outcomes, Kind.FOREIGN, half=1) <= 0.04
    for name in {one.round for one in outcomes} - {"squad"}:
        assert answered([one for one in outcomes if one.round == name], Kind.FOREIGN) <= 0.09, name


def test_questions_made_to_look_answerable_are_told_apart_better_than_by_chance(outcomes: list[Outcome]) -> None:
    balanced = (answered(outcomes, Kind.ANSWERABLE) + 1 - answered(outcomes, Kind.ADVERSARIAL)) / 2
    assert balanced >= 0.655


def test_every_quote_is_exact(outcomes: list[Outcome]) -> None:
    assert [one.asked.question for one in outcomes if not one.exact] == []
