from collections.abc import Sequence
from dataclasses import replace

from rag.extract import SENTENCES, Extract, extract
from rag.types import ChunkId, Hit, Passage
from tests.fakes.embedder import WordEmbedder

LEAVE = "Employees get 25 days of leave a year. Unused days of leave expire in March. Ask the office for more."
PAY = "Salaries are paid on the last day of the month. Anna Weber signs all payments."


def hit(chunk_id: int, text: str, *, cosine: float | None = 0.5, title: str = "") -> Hit:
    passage = Passage(
        chunk_id=ChunkId(chunk_id),
        file_id=f"file-{chunk_id}",
        filename=f"{chunk_id}.md",
        text=text,
        start=0,
        end=len(text),
        title=title,
    )
    return Hit(passage=passage, score=0.5, rank=chunk_id, cosine=cosine)


HITS = (hit(1, LEAVE), hit(2, PAY))


def asked(question: str, hits: Sequence[Hit] = HITS) -> Extract:
    return extract(question, hits, WordEmbedder())


def test_the_sentence_that_answers_is_quoted_as_it_stands() -> None:
    found = asked("Unused days of leave expire in which month?")
    assert found.quotes[0].text == "Unused days of leave expire in March."
    assert found.quotes[0].hit.passage.filename == "1.md"
    assert found.answered


def test_a_question_about_something_else_is_not_answered() -> None:
    found = asked("Which telescope photographed Jupiter?")
    assert not found.answered
    assert found.probability < 0.1


def test_without_hits_nothing_is_answered() -> None:
    assert asked("When do days expire?", ()) == Extract(quotes=(), probability=0.0, answered=False)


def test_a_passage_without_sentences_is_not_quoted() -> None:
    assert asked("What is it?", [hit(1, "# Heading only")]).quotes == ()


def test_who_is_answered_by_a_sentence_with_a_name() -> None:
    hits = [hit(1, "The office signs all payments. Anna Weber signs all payments.")]
    assert asked("Who signs all payments?", hits).quotes[0].text == "Anna Weber signs all payments."


def test_another_number_or_name_than_the_documents_have_makes_an_answer_less_likely() -> None:
    right = asked("Do employees get 25 days of leave a year?").probability
    assert asked("Do employees get 45 days of leave a year?").probability < right - 0.2
    assert asked("Do employees get Easter days of leave a year?").probability < right


def test_a_question_that_says_the_opposite_is_less_likely_answered() -> None:
    first = asked("Who gets paid on the last day of the month?").probability
    assert asked("Who gets paid on the first day of the month?").probability < first
    assert asked("Who never gets paid on the last day of the month?").probability < first


def test_a_second_sentence_is_quoted_only_when_it_is_nearly_as_likely() -> None:
    alike = hit(1, "The bridge was opened in 1999. The bridge was opened in 2001.")
    assert len(asked("When was the bridge opened?", [alike]).quotes) == 2
    assert len(asked("Unused days of leave expire in which month?").quotes) == 1


def test_a_sentence_that_two_chunks_share_is_quoted_once() -> None:
    found = asked("Unused days of leave expire in which month?", [hit(1, LEAVE), hit(2, LEAVE)])
    assert [quote.text for quote in found.quotes] == ["Unused days of leave expire in March."]


def test_a_sentence_that_says_the_same_in_other_dress_is_quoted_once() -> None:
    found = asked("Unused days of leave expire in which month?", [hit(1, LEAVE), hit(2, f"* **Note** {LEAVE}")])
    assert len(found.quotes) == 1


def test_a_question_in_the_documents_is_no_answer() -> None:
    faq = hit(1, "When do unused days of leave expire? In March, as all unused days do.")
    assert [quote.text for quote in asked("When do unused days of leave expire?", [faq]).quotes] == [
        "In March, as all unused days do."
    ]


def test_a_link_that_only_names_what_is_asked_about_is_no_answer() -> None:
    hits = [hit(1, "- [Days of leave](ch04-leave.md)"), hit(2, LEAVE)]
    assert asked("What are days of leave?", hits).quotes[0].hit is hits[1]


def test_the_sentence_that_defines_a_term_comes_before_one_that_only_has_it() -> None:
    text = "As a first example of leave, look at days of leave. _Leave_ is the time that nobody works."
    assert asked("What is leave?", [hit(1, text)]).quotes[0].text == "_Leave_ is the time that nobody works."


def test_a_sentence_in_the_question_s_own_words_answers_yes() -> None:
    found = asked("Do unused days of leave expire in March?")
    assert found.quotes[0].text == "Unused days of leave expire in March."


def test_what_does_not_ask_for_one_fact_is_answered_by_two_sentences_sooner() -> None:
    # The second sentence is a third as likely as the first.
    bridge = hit(1, "The old bridge carries Trams. Old Wagons carry Horses over the bridge.")
    assert len(asked("Who does the bridge carry?", [bridge]).quotes) == 1
    assert len(asked("What does the bridge carry?", [bridge]).quotes) == 2


def test_headings_count_as_words_of_their_sentences() -> None:
    text = "Run this command first. It needs Python."
    plain, titled = hit(1, text), hit(2, text, title="Installing the server")
    assert asked("How do I install the server?", [plain, titled]).quotes[0].hit is titled


def test_the_text_score_of_a_store_does_not_matter() -> None:
    scored = [replace(one, bm25=30.0, score=1.0) for one in HITS]
    assert asked("When do days expire?", scored).probability == asked("When do days expire?").probability


def test_a_hit_without_a_cosine_is_judged_by_its_sentences() -> None:
    found = asked("Unused days of leave expire in which month?", [hit(1, LEAVE, cosine=None)])
    assert found.answered


def test_of_many_sentences_only_those_that_share_words_are_embedded() -> None:
    embedder = WordEmbedder()
    filler = "Nothing here matters much. " * (2 * SENTENCES)
    found = extract("Unused days of leave expire in which month?", [hit(1, filler + LEAVE)], embedder)
    assert len(embedder.seen) == 1 + SENTENCES
    assert found.quotes[0].text == "Unused days of leave expire in March."
