"""What speaks for an answer, and what becomes of one that too little speaks for."""

import pytest

from rag.answer import finish
from rag.cite import CitationFilter
from rag.confidence import FEATURES, AnswerCalibration, Confidence, features
from rag.types import Answer, ChunkId, Grounding, Hit, Passage
from tests.fakes.embedder import WordEmbedder

TEXT = "Employees get 25 days of leave a year. Unused days of leave expire in March. Ask the office for more."
QUESTION = "Unused days of leave expire in which month?"
RIGHT = "Unused days of leave expire in March [1]."
REFUSAL = "The documents do not say."


def hit(text: str = TEXT, *, start: int = 100, cosine: float | None = 0.5) -> Hit:
    passage = Passage(
        chunk_id=ChunkId(1), file_id="file-1", filename="leave.md", text=text, start=start, end=start + len(text)
    )
    return Hit(passage=passage, score=0.9, rank=1, cosine=cosine)


def of(text: str, question: str = QUESTION, source: Hit | None = None) -> dict[str, float]:
    sources = (source or hit(),)
    filter_ = CitationFilter(sources)
    sent = filter_.feed(text) + filter_.finish()
    return features(question, sent, filter_.citations, sources, WordEmbedder())


def confidence(threshold: float, **weights: float) -> Confidence:
    every = dict.fromkeys(FEATURES, 0.0) | weights
    calibration = AnswerCalibration(weights=every, intercept=0.0, threshold=threshold)
    return Confidence(calibration=calibration, embedder=WordEmbedder())


def answered(text: str, judged_by: Confidence | None) -> Answer:
    grounding = Grounding(question=QUESTION, sources=(hit(),), instructions="", role="system", prompt="")
    return finish(text, grounding, refusal=REFUSAL, confidence=judged_by)


def test_each_feature_is_there() -> None:
    assert of(RIGHT).keys() == set(FEATURES)


def test_more_speaks_for_the_sentence_that_answers_than_for_another() -> None:
    right, beside = of(RIGHT), of("Employees get 25 days of leave a year [1].")
    assert right["sources_answer"] == beside["sources_answer"]
    assert right["quotes_answer"] > beside["quotes_answer"]
    assert (right["cites_likeliest"], beside["cites_likeliest"]) == (1.0, 0.0)
    assert (right["question_words"], beside["question_words"]) == (pytest.approx(4 / 5), pytest.approx(2 / 5))


def test_less_speaks_for_any_answer_where_the_sources_are_about_something_else() -> None:
    text = "Ask the office for more [1]."
    assert of(text)["sources_answer"] > of(text, "Which telescope photographed Jupiter?")["sources_answer"]


def test_statements_that_nothing_bears_out_count_against_an_answer() -> None:
    assert of(RIGHT)["supported"] == 1.0
    assert of(f"{RIGHT} Cats rule the moon.")["supported"] == 0.5


@pytest.mark.parametrize(
    "said",
    [
        "The sources do not mention which month.",
        "It isn't stated.",
        "There is no information on that.",
        "The month is not specified.",
    ],
)
def test_an_answer_that_says_that_it_lacks_something_is_noticed(said: str) -> None:
    assert (of(RIGHT)["admits_gap"], of(f"{RIGHT} {said}")["admits_gap"]) == (0.0, 0.5)


def test_what_a_store_s_own_embedder_found_near_makes_no_difference() -> None:
    assert of(RIGHT, source=hit(cosine=0.9)) == of(RIGHT, source=hit(cosine=None))


def test_an_answer_that_is_likely_enough_leaves_as_it_is() -> None:
    found = answered(RIGHT, confidence(0.6, question_words=1.0))
    assert (found.text, found.answered, len(found.citations)) == (RIGHT, True, 1)
    assert found.confidence == pytest.approx(0.69, abs=0.01)


def test_one_that_is_not_becomes_the_refusal() -> None:
    found = answered(RIGHT, confidence(0.7, question_words=1.0))
    assert (found.text, found.answered, found.citations) == (REFUSAL, False, ())
    assert found.confidence == pytest.approx(0.69, abs=0.01)


@pytest.mark.parametrize("text", [REFUSAL, "Employees get 25 days."])
def test_what_refuses_or_cites_nothing_has_none(text: str) -> None:
    found = answered(text, confidence(0.0))
    assert (found.text, found.answered, found.confidence) == (text, False, 0.0)


def test_without_a_calibration_nothing_is_said_of_it() -> None:
    found = answered(RIGHT, None)
    assert (found.answered, found.confidence) == (True, None)


def test_odds_beyond_measure_are_still_a_probability() -> None:
    assert 0 < confidence(0.5, supported=-1e6).calibration.probability(of(RIGHT)) < 1e-5
