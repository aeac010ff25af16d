"""What a calibration brings to two engines that err in opposite ways, on SQuAD questions that it was not fitted on.

Both quote the sentence of the sources that is nearest to the question. One always does, whether it answers or not; the
other refuses where less than half of what is asked about stands in it.
"""

import random
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from rag.answer import finish
from rag.confidence import features
from rag.evaluate.answers import evaluate_answers
from rag.evaluate.calibrate import Fitted, calibrate
from rag.evaluate.collection import squad_articles
from rag.evaluate.questions import Asked
from rag.evaluate.reliability import Reliability
from rag.ports import Embedder
from rag.sentences import sentences
from rag.types import Answer, Grounding, Hit
from rag.words import read
from tests.quality.asked import Asked as Known
from tests.quality.asked import Kind, Search, open_store, paragraphs, squad_questions
from tests.quality.kept import Kept, open_kept

pytestmark = [pytest.mark.quality, pytest.mark.timeout(600)]

REFUSAL = "The documents do not say."
ARTICLES, PARAGRAPHS, OWN, FOREIGN, SOURCES = 12, 6, 320, 60, 5

Write = Callable[[Embedder, str, list[Hit]], str]


def eager(embedder: Embedder, question: str, sources: list[Hit]) -> str:
    number, sentence = _nearest(embedder, question, sources)
    return f"{sentence} [{number}]"


def timid(embedder: Embedder, question: str, sources: list[Hit]) -> str:
    number, sentence = _nearest(embedder, question, sources)
    about = read(question).content
    return f"{sentence} [{number}]" if len(about & read(sentence).stems) >= len(about) / 2 else REFUSAL


def _nearest(embedder: Embedder, question: str, sources: list[Hit]) -> tuple[int, str]:
    found = [
        (number, hit.passage.text[span.start : span.end])
        for number, hit in enumerate(sources, start=1)
        for span in sentences(hit.passage.text)
    ]
    vectors = embedder.embed([question, *(text for _, text in found)])
    return found[int((vectors[1:] @ vectors[0]).argmax())]


@pytest.fixture(scope="module")
def embedder() -> Kept:
    return open_kept()


@pytest.fixture(scope="module")
def articles(shared_data: Path) -> list[dict[str, Any]]:
    """The first paragraphs of many articles: what engines get wrong differs more between articles than within."""
    read = squad_articles(shared_data / "qa/squad/dev-v2.0.part.json")
    return [article | {"paragraphs": article["paragraphs"][:PARAGRAPHS]} for article in read]


@pytest.fixture(scope="module")
def asked(articles: list[dict[str, Any]]) -> list[Asked]:
    draw = random.Random(8)
    own, others = (
        [one for article in part for one in squad_questions(article, half=0)]
        for part in (articles[:ARTICLES], articles[ARTICLES:])
    )
    return [
        *(_asked(number, one) for number, one in enumerate(draw.sample(own, OWN))),
        *(Asked(id=one.question, text=one.question, answerable=False) for one in draw.sample(others, FOREIGN)),
    ]


def _asked(number: int, one: Known) -> Asked:
    answers = tuple(text for _, text in one.answers)
    return Asked(id=str(number), text=one.question, answerable=one.kind is Kind.ANSWERABLE, answers=answers)


@pytest.fixture(scope="module")
def search(articles: list[dict[str, Any]], embedder: Kept, tmp_path_factory: pytest.TempPathFactory) -> Search:
    return open_store(paragraphs(articles[:ARTICLES]), embedder, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module", params=[eager, timid])
def draws(request: pytest.FixtureRequest, asked: list[Asked], search: Search, embedder: Kept) -> list[Fitted]:
    """What five draws of the half that is fitted on bring to an engine: of one, chance is the larger part."""
    write: Write = request.param

    def ask(question: str) -> Answer:
        sources = tuple(search(question)[:SOURCES])
        grounding = Grounding(question=question, sources=sources, instructions="", role="system", prompt="")
        return finish(write(embedder, question, list(sources)), grounding, refusal=REFUSAL)

    def speaks_for(question: str, given: Answer) -> dict[str, float]:
        return features(question, given.text, given.citations, given.sources, embedder)

    report = evaluate_answers("SQuAD", asked, ask, features=speaks_for)
    return [calibrate(report, seed=seed) for seed in range(5)]


def gained(draws: list[Fitted], figure: Callable[[Reliability], float | None]) -> float:
    return mean((figure(one.after) or 0.0) - (figure(one.before) or 0.0) for one in draws)


def test_a_calibrated_engine_answers_and_refuses_better_than_by_its_own_word(draws: list[Fitted]) -> None:
    assert gained(draws, lambda found: found.at_threshold.balanced_accuracy) >= 0.02
    assert gained(draws, lambda found: found.at_threshold.precision) >= 0.1


def test_what_it_says_of_its_answers_is_nearer_to_the_truth(draws: list[Fitted]) -> None:
    # Of ninety answers in ten bins even the truth is .1 off.
    assert gained(draws, lambda found: found.calibration_error) <= -0.3
    assert gained(draws, lambda found: found.brier) <= -0.3
