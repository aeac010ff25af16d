from rag.parse.headings import front_matter_title, markdown_headings, slide_headings
from rag.types import Heading, Page


def found(text: str) -> list[tuple[int, str, str]]:
    """The headings with the text at their start, so that a wrong offset shows."""
    return [(h.level, h.title, text[h.start :].splitlines()[0]) for h in markdown_headings(text)]


def test_headings_carry_level_title_and_line_start() -> None:
    assert found("# A\n\ntext\n\n### B #\n") == [(1, "A", "# A"), (3, "B", "### B #")]


def test_underlined_headings_are_found() -> None:
    assert found("Top\n===\n\nSub\n---\n") == [(1, "Top", "Top"), (2, "Sub", "Sub")]


def test_no_heading_is_found_in_a_fence() -> None:
    assert found("```sh\n# comment\n```\n\n# Real\n") == [(1, "Real", "# Real")]


def test_offsets_count_code_points_whatever_the_line_ends() -> None:
    assert found("🦀é\r\n\r\n## Ü\r\rtext\r\n# Z") == [(2, "Ü", "## Ü"), (1, "Z", "# Z")]


def test_form_feeds_do_not_move_offsets() -> None:
    assert found("a\x0cb\u2028c\n\n# H\n") == [(1, "H", "# H")]


def test_titles_are_words_without_markup() -> None:
    assert found("## The `Option` *Enum* [here](x.md)\\!\n")[0][1] == "The Option Enum here!"


def test_front_matter_is_no_heading_and_gives_the_title() -> None:
    text = '---\ntitle: "My page"\n---\n\n# First\n'
    assert found(text) == [(1, "First", "# First")]
    assert front_matter_title(text) == "My page"


def test_front_matter_without_a_title_gives_none() -> None:
    assert front_matter_title("---\nlang: en\n---\n# First\n") is None


def test_a_slide_is_headed_by_its_first_line_if_that_is_a_title() -> None:
    text = "Intro\n\nwords\n\nno title here"
    pages = (Page(number=1, start=0, end=12), Page(number=2, start=14, end=27))
    assert slide_headings(text, pages, ["Intro", "words"]) == (Heading(level=1, title="Intro", start=0),)


def test_an_endless_heading_is_cut_and_takes_no_endless_time() -> None:
    (heading,) = markdown_headings("# " + "[" * 1_000_000)
    assert heading.title == "[" * 300
