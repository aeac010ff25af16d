import pytest

from rag.sentences import sentences


def split(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid $3.50 on Jan. 5.",
        "He left at 5 p.m. on Friday.",
        "See e.g. Fig. 3 in J. R. R. Tolkien's letters.",
        "Am 3. Oktober 1990 kam z.B. der Tag.",
        "It was No. 7 of the U.S. Army.",
        "Version 3.11.2 runs on example.com today.",
    ],
)
def test_abbreviations_numbers_and_initials_do_not_end_a_sentence(text: str) -> None:
    assert split(text) == [text]


def test_an_abbreviation_before_a_word_that_starts_sentences_ends_one() -> None:
    assert split("It was sold to Acme Inc. The price was 3 million.") == [
        "It was sold to Acme Inc.",
        "The price was 3 million.",
    ]


def test_closing_quotation_marks_belong_to_their_sentence() -> None:
    assert split('She said: "Go!" He went (slowly.) Then it rained.') == [
        'She said: "Go!"',
        "He went (slowly.)",
        "Then it rained.",
    ]


def test_languages_without_spaces_are_split_at_their_full_stops() -> None:
    assert split("他来了。他走了！真的吗？") == ["他来了。", "他走了！", "真的吗？"]


def test_a_wrapped_line_does_not_end_a_sentence_and_a_blank_one_does() -> None:
    assert split("It goes\non here\n\nand not there") == ["It goes\non here", "and not there"]


def test_headings_rules_and_marks_alone_are_not_quotable() -> None:
    assert split("# Title\n\n---\n\nText.\n\n***\n.\n") == ["Text."]


def test_each_item_of_a_list_is_its_own_without_its_marker() -> None:
    assert split("- First. More of it.\n- second\n  goes on\n1. third") == [
        "First.",
        "More of it.",
        "second\n  goes on",
        "third",
    ]


def test_each_row_of_a_table_is_its_own() -> None:
    assert split("| a | b |\n|---|---|\n| 1 | 2 |\n") == ["| a | b |", "| 1 | 2 |"]


def test_a_sentence_ending_in_a_colon_keeps_what_it_introduces() -> None:
    text = "Install it:\n\n```sh\npip install loam\n```\n\nThe verbs:\n- go\n- stop"
    assert split(text) == ["Install it:\n\n```sh\npip install loam\n```", "The verbs:\n- go\n- stop"]


def test_a_long_list_is_not_joined_with_its_introduction() -> None:
    items = [f"item {number} " + "x" * 90 for number in range(9)]
    assert split("All of them:\n" + "\n".join(f"- {item}" for item in items)) == ["All of them:", *items]


def test_full_stops_in_code_do_not_split_it() -> None:
    code = "```py\na.b. C. D\n\n# not a heading. Really.\n```"
    assert split(f"Before.\n\n{code}\n\nAfter.") == ["Before.", code, "After."]


def test_rows_of_a_csv_file_are_quoted_one_by_one() -> None:
    rows = [f"Station {number},{number % 7},19{number}" for number in range(10, 15)]
    text = "\n".join(rows)
    assert [text[span.start : span.end] for span in sentences(text)] == rows


def test_lines_of_prose_with_a_comma_here_and_there_stay_together() -> None:
    text = "As it was late, they went\nhome without a word, tired,\nhungry and wet to the\nskin, and slept."
    assert len(sentences(text)) == 1
