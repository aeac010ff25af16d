from dataclasses import replace

from prompts import Message, Templates
from rag.answer import Asking, answer, concluded, ground, refusal
from rag.types import ChunkId, Citation, Grounding, Hit, Passage

TEXT = "The permit costs 60 euros. It is valid for ten years."


def _hit(text=TEXT, chunk_id=1, page=None):
    passage = Passage(
        chunk_id=ChunkId(chunk_id),
        file_id="file-1",
        filename="fees.pdf",
        text=text,
        start=100,
        end=100 + len(text),
        page=page,
        heading_path=("Fees", "Permits"),
    )
    return Hit(passage=passage, score=0.9, rank=chunk_id)


def _asking(*hits, seen=None, prompt="answer_with_sources", context_tokens=1000):
    def search(question):
        if seen is not None:
            seen.append(question)
        return hits

    return Asking(
        search=search,
        templates=Templates(),
        count_tokens=lambda text: len(text.split()),
        prompt=prompt,
        context_tokens=context_tokens,
    )


def test_mark_that_its_source_bears_out_becomes_a_citation():
    found = answer("What does it cost?", asking=_asking(_hit()), write=lambda _: "The permit costs 60 euros [1].")
    [citation] = found.citations
    assert found.answered
    assert citation.quote == "The permit costs 60 euros"
    assert (citation.source_start, citation.source_end) == (100, 125)
    assert found.text[citation.start_index : citation.end_index] == "[1]"


def test_mark_without_support_is_taken_out_and_the_question_counts_as_unanswered():
    found = answer("Who?", asking=_asking(_hit()), write=lambda _: "Napoleon crossed the Alps [1].")
    assert (found.text, found.citations, found.answered) == ("Napoleon crossed the Alps.", (), False)


def test_refusal_is_no_answer():
    found = answer("Who?", asking=_asking(_hit()), write=lambda _: "The documents do not say.")
    assert (found.citations, found.answered) == ((), False)


def test_citation_that_is_not_in_its_passage_never_leaves():
    grounding = Grounding(question="", sources=(_hit(),), instructions="", role="system", prompt="")
    false = Citation(
        index=1,
        start_index=4,
        end_index=7,
        quote="The permit costs 61 euros",
        source_start=100,
        source_end=125,
        chunk_id=ChunkId(1),
        file_id="file-1",
        filename="fees.pdf",
        score=0.9,
    )
    assert concluded("Yes [1]", [false], grounding, refusal=refusal(Templates())).citations == ()


def test_sources_are_numbered_in_the_prompt_with_their_place():
    grounding = ground("What?", asking=_asking(_hit(page=7), _hit("Other.", 2)))
    assert '<source number="1" file="fees.pdf" page="7" section="Fees > Permits">' in grounding.instructions
    assert '<source number="2"' in grounding.instructions
    assert grounding.role == "system"


def test_prompt_that_takes_the_question_carries_it():
    grounding = ground("What does it cost?", asking=_asking(_hit(), prompt="qa_or_unanswerable"))
    assert grounding.role == "user"
    assert grounding.instructions.endswith("Question: What does it cost?\nAnswer:")


def test_follow_up_is_searched_for_with_the_question_it_points_to():
    seen = []
    ground("And how long is it valid?", asking=_asking(seen=seen), conversation=[Message("user", "What is a permit?")])
    assert seen == ["What is a permit? And how long is it valid?"]


def test_decomposed_question_is_searched_part_by_part_and_whole():
    seen = []
    asking = replace(_asking(_hit(), seen=seen), decompose=True)
    question = "What does the permit cost and who issues driving licences?"
    grounding = ground(question, asking=asking)
    assert seen == ["What does the permit cost?", "who issues driving licences?", question]
    assert (grounding.question, grounding.queries) == (question, tuple(seen))
    assert len(grounding.sources) == 1
    assert "decompose" in grounding.timings_ms


def test_every_part_of_a_question_has_a_source_within_the_budget():
    found = {
        "What does the permit cost?": [_hit("Permits cost 60 euros.", n) for n in range(1, 5)],
        "who issues driving licences?": [_hit("The town hall issues licences.", 9)],
    }
    asking = Asking(
        search=lambda question: found.get(question, []),
        templates=Templates(),
        count_tokens=lambda text: len(text.split()),
        context_tokens=12,
        decompose=True,
    )
    sources = ground("What does the permit cost and who issues driving licences?", asking=asking).sources
    assert [hit.passage.chunk_id for hit in sources] == [1, 9]


def test_question_is_searched_whole_unless_told_otherwise():
    seen = []
    grounding = ground("What does the permit cost and who issues driving licences?", asking=_asking(seen=seen))
    assert list(grounding.queries) == seen == ["What does the permit cost and who issues driving licences?"]
    assert "decompose" not in grounding.timings_ms


def test_sources_stay_within_the_budget():
    assert len(ground("?", asking=_asking(_hit(), _hit("More words.", 2), context_tokens=10)).sources) == 1
