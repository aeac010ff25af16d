import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.cite import CitationFilter, Quote, is_refusal, quote, support, verified
from rag.sentences import Span
from rag.types import ChunkId, Citation, Hit, Passage

LEAVE = "Employees get 25 days of leave a year. Unused days expire in March."
PAY = "Salaries are paid on the last day of the month. Bonuses are paid in 2 parts."


def hit(chunk_id: int, text: str) -> Hit:
    passage = Passage(
        chunk_id=ChunkId(chunk_id),
        file_id=f"file-{chunk_id}",
        filename=f"{chunk_id}.md",
        text=text,
        start=100,
        end=100 + len(text),
        page=4,
    )
    return Hit(passage=passage, score=0.5, rank=chunk_id)


SOURCES = (hit(1, LEAVE), hit(2, PAY))


def filtered(*deltas: str, is_json: bool = False) -> tuple[str, list[Citation]]:
    citing = CitationFilter(SOURCES, is_json=is_json)
    text = "".join([citing.feed(delta) for delta in deltas]) + citing.finish()
    assert text == citing.text
    return text, citing.citations


def test_quotes_are_given_letter_for_letter_with_their_marks() -> None:
    text, citations = quote([Quote(hit=SOURCES[1], span=Span(0, 47)), Quote(hit=SOURCES[0], span=Span(39, 67))])
    assert text == "Salaries are paid on the last day of the month. [1] Unused days expire in March. [2]"
    assert [(one.index, text[one.start_index : one.end_index], one.quote) for one in citations] == [
        (1, "[1]", "Salaries are paid on the last day of the month."),
        (2, "[2]", "Unused days expire in March."),
    ]
    assert citations[1].source_start == 139
    assert verified(citations, text, SOURCES) == citations


def test_two_quotes_of_one_passage_have_one_number() -> None:
    text, _ = quote([Quote(hit=SOURCES[0], span=Span(0, 38)), Quote(hit=SOURCES[0], span=Span(39, 67))])
    assert text == "Employees get 25 days of leave a year. [1] Unused days expire in March. [1]"


def test_a_mark_never_touches_the_fence_of_quoted_code() -> None:
    code = "```sh\nmake demo\n```"
    text, _ = quote([Quote(hit=hit(1, code), span=Span(0, len(code)))])
    assert text == f"{code}\n\n[1]"


def test_a_supported_mark_stays_and_quotes_the_sentence_that_supports_it() -> None:
    text, (citation,) = filtered("You get 25 days of leave [1].")
    assert text == "You get 25 days of leave [1]."
    assert citation.quote == "Employees get 25 days of leave a year."
    assert (citation.start_index, citation.end_index, citation.source_start) == (25, 28, 100)
    assert (citation.filename, citation.page) == ("1.md", 4)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Leave is 25 days [7].", "Leave is 25 days."),
        ("Leave is 25 days [2].", "Leave is 25 days."),
        ("Employees get 26 days of leave a year. [1]", "Employees get 26 days of leave a year."),
        ("Whales are mammals. [1] Yes.", "Whales are mammals. Yes."),
        ("Whales are mammals [0] [1][2] indeed", "Whales are mammals indeed"),
    ],
)
def test_a_mark_without_support_is_taken_out_with_the_space_before_it(given: str, sent: str) -> None:
    assert filtered(given) == (sent, [])


@pytest.mark.parametrize("mark", ["[1, 2]", "[1][2]", "【1】【2】", "[^1][^2]", "[1;2]", "【1†L3-L9】[2]"])
def test_every_way_to_write_a_mark_becomes_one(mark: str) -> None:
    sources = (hit(1, LEAVE), hit(2, LEAVE))
    citing = CitationFilter(sources)
    text = citing.feed(f"Unused days expire in March {mark}.") + citing.finish()
    assert text == "Unused days expire in March [1][2]."
    assert [citation.index for citation in citing.citations] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "See [1](https://example.com) and ![2](a.png).",
        "Read `days[1]` or ``x`[1]`` there.",
        "```py\ndays = leave[1]\n```",
        "- [ ] open\n- [x] done",
        "[sic] and [2024] and [1",
        "An open bracket [",
        "Trailing blanks  ",
    ],
)
def test_what_only_looks_like_a_mark_is_left_alone(text: str) -> None:
    assert filtered(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        '{"pages": [1], "days": [25, 2]}',
        '{"said": "He said \\"no\\".", "pages": [1]}',
        '[[1], ["`"], [2]]',
        '{"path": "C:\\\\", "pages": [2]}',
    ],
)
def test_a_list_of_numbers_in_json_is_no_mark(text: str) -> None:
    assert filtered(text, is_json=True) == (text, [])
    assert filtered(*text, is_json=True) == (text, [])


def test_a_mark_in_a_string_of_json_is_for_what_the_string_says() -> None:
    given = '{"leave": "Employees get 25 days of leave a year [1].", "pay": "Whales sing [2].", "pages": [1]}'
    text, (citation,) = filtered(given, is_json=True)
    assert json.loads(text) == {
        "leave": "Employees get 25 days of leave a year [1].",
        "pay": "Whales sing.",
        "pages": [1],
    }
    assert citation.quote == "Employees get 25 days of leave a year"
    assert text[citation.start_index : citation.end_index] == "[1]"


def test_marks_after_code_are_read_again() -> None:
    text, citations = filtered("```\na[1]\n```\nUse `b[1]`. Unused days expire in March. [1]")
    assert text.endswith("in March. [1]")
    assert len(citations) == 1


def test_each_claim_of_a_sentence_is_held_against_its_own_mark() -> None:
    text, citations = filtered("Unused days expire in March [1] and salaries come on the last day of the month [2].")
    assert text.count("[") == 2
    assert [citation.quote for citation in citations] == [
        "Unused days expire in March",
        "Salaries are paid on the last day of the month.",
    ]


def test_text_is_held_back_only_while_a_mark_is_undecided() -> None:
    citing = CitationFilter(SOURCES)
    deltas = ["Unused days expire in March", " [", "1", "]", ". Next", " [", "see", "]"]
    assert [citing.feed(delta) for delta in deltas] == [
        "Unused days expire in March", "", "", "", " [1]. Next", "", " [see", "]"
    ]  # fmt: skip


PIECES = st.sampled_from(
    [
        "Unused days expire in March",
        " [1]",
        "[",
        "1",
        "]",
        "【2】",
        "[1, 2]",
        "[^1]",
        "(x)",
        "`",
        "```",
        "\n",
        " ",
        ". ",
        "2 parts",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.data())
def test_how_a_text_is_split_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    deltas = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = filtered(text)
    assert filtered(*deltas) == whole
    assert verified(whole[1], whole[0], SOURCES) == tuple(whole[1])


def test_support_is_the_very_words_where_the_source_has_them() -> None:
    assert support("days expire in March.", LEAVE) == Span(46, 66)


def test_two_neighbouring_sentences_may_support_a_claim_together() -> None:
    span = support("Employees get 25 days, expiring in March if unused.", LEAVE)
    assert span == Span(0, 67)


def test_a_claim_without_content_has_no_support() -> None:
    assert support("Yes, it is.", LEAVE) is None


@pytest.mark.parametrize(
    "change",
    [
        {"quote": "Unused days expire in March!"},
        {"source_start": 140},
        {"source_end": 168},
        {"start_index": 28},
        {"index": 2},
        {"chunk_id": ChunkId(2)},
        {"chunk_id": ChunkId(9)},
        {"file_id": "file-2"},
    ],
)
def test_a_citation_that_is_off_by_anything_does_not_leave(change: dict[str, object]) -> None:
    text, (citation,) = quote([Quote(hit=SOURCES[0], span=Span(39, 67))])
    assert verified([citation], text, SOURCES) == (citation,)
    assert verified([replace(citation, **change)], text, SOURCES) == ()


@pytest.mark.parametrize(
    "text", ['"The documents do not say."', " the documents do not say\n", "**The documents  do not say**."]
)
def test_a_refusal_is_known_in_other_dress(text: str) -> None:
    assert is_refusal(text, "The documents do not say.")


def test_a_sentence_that_goes_on_is_not_a_refusal() -> None:
    assert not is_refusal("The documents do not say. But it is 25 days.", "The documents do not say.")
