"""Which measures an answer gets, and what they come to."""

from rag.cite import CitationFilter
from rag.evaluate.answers import evaluate_answers, scores
from rag.evaluate.questions import Asked
from rag.types import Answer, ChunkId, Hit, Passage

TEXT = "Employees have thirty days of leave a year. Trains are booked by the front desk."
PASSAGE = Passage(chunk_id=ChunkId(1), file_id="file-1", filename="leave.md", text=TEXT, start=0, end=len(TEXT))
SOURCES = (Hit(passage=PASSAGE, score=0.9, rank=1),)
REFUSAL = Answer(text="The documents do not say.", citations=(), answered=False, sources=SOURCES)
ASKED = Asked(
    id="1",
    text="How many days?",
    answerable=True,
    answers=("thirty days",),
    sources=("leave.md", "other.md"),
    key_points=("There are thirty days of leave.", "Parental leave is fully paid."),
)
UNANSWERABLE = Asked(id="2", text="How much pay?", answerable=False)


def answer(text: str) -> Answer:
    filter_ = CitationFilter(SOURCES)
    sent = filter_.feed(text) + filter_.finish()
    return Answer(text=sent, citations=tuple(filter_.citations), answered=True, sources=SOURCES)


def test_an_answer_is_measured_by_words_points_and_citations() -> None:
    found = scores(ASKED, answer("Employees have thirty days of leave a year. [1] Leave is fun."))
    assert found == {
        "answered_of_answerable": 1.0,
        "exact_match": 0.0,
        "f1": 2 * 2 / (10 + 2),
        "containment": 1.0,
        "key_points": 0.5,
        "citation_recall": 0.5,
        "citation_precision": 1.0,
        "source_recall": 0.5,
        "source_precision": 1.0,
    }


def test_marks_are_no_words_of_the_answer() -> None:
    assert scores(ASKED, answer("thirty days [1]"))["exact_match"] == 1.0


def test_a_refusal_is_wrong_where_there_is_an_answer() -> None:
    assert scores(ASKED, REFUSAL) == {
        "answered_of_answerable": 0.0,
        "exact_match": 0.0,
        "f1": 0.0,
        "containment": 0.0,
        "key_points": 0.0,
        "unanswerable_of_refused": 0.0,
    }


def test_a_refusal_is_right_where_there_is_none() -> None:
    assert scores(UNANSWERABLE, REFUSAL) == {
        "refused_of_unanswerable": 1.0,
        "exact_match": 1.0,
        "f1": 1.0,
        "unanswerable_of_refused": 1.0,
    }


def test_an_answer_to_what_has_none_is_wrong_however_well_it_is_cited() -> None:
    found = scores(UNANSWERABLE, answer("Employees have thirty days of leave a year. [1]"))
    assert found == {
        "refused_of_unanswerable": 0.0,
        "exact_match": 0.0,
        "f1": 0.0,
        "citation_recall": 1.0,
        "citation_precision": 1.0,
    }


def test_balanced_accuracy_is_the_mean_of_answering_and_refusing() -> None:
    report = evaluate_answers("leave", [ASKED, UNANSWERABLE], lambda _question: REFUSAL)
    estimates = report.estimates()
    assert estimates["balanced_accuracy"].value == 0.5
    assert estimates["abstention_precision"].value == 0.5
    assert estimates["abstention_recall"].value == 1.0
