import pytest

from rag.errors import FileTooLarge, InvalidFile, UnsupportedFile
from rag.parse import ParseLimits, _without_title, parse
from tests.fakes.scanned import without_recognition


def test_markdown_is_its_own_canonical_text() -> None:
    document = parse("\ufeff# Ü\r\n\r\nText\r\n".encode(), "a.md")
    assert document.text == "# Ü\r\n\r\nText\r\n"
    assert (document.media_type, document.title) == ("text/markdown", "Ü")
    assert [(h.level, h.title, h.start) for h in document.headings] == [(1, "Ü", 0)]


def test_code_is_its_own_text_without_headings() -> None:
    document = parse(b"# not a heading\nx = 1\n", "a.py")
    assert (document.text, document.headings, document.title) == ("# not a heading\nx = 1\n", (), None)


def test_front_matter_titles_a_page() -> None:
    assert parse(b"---\ntitle: Start here\n---\n# Other\n", "a.md").title == "Start here"


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b" \n\t ", "nothing but white space")])
def test_a_file_without_text_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidFile, match=reason):
        parse(content, "a.txt")


def test_a_file_over_the_limit_is_refused_with_its_size() -> None:
    with pytest.raises(FileTooLarge, match="has 11 bytes; the limit is 10"):
        parse(b"hello world", "a.txt", limits=ParseLimits(file_bytes=10))


def test_text_over_the_limit_is_refused_not_cut() -> None:
    with pytest.raises(FileTooLarge, match="has 11 characters; the limit is 10"):
        parse(b"hello world", "a.txt", limits=ParseLimits(text_chars=10))


def test_an_image_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without_recognition(monkeypatch)
    with pytest.raises(UnsupportedFile, match="Install tesseract-ocr"):
        parse(b"\x89PNG\r\n\x1a\n", "a.png")


def test_the_name_is_kept_as_given() -> None:
    assert parse(b"x", "../../etc/passwd").name == "../../etc/passwd"


@pytest.mark.parametrize("tag", ["<title>", "<title ", "<TITLE x"])
def test_titles_that_never_end_take_no_endless_time(tag: str) -> None:
    assert _without_title(tag * 1_000_000) == (None, tag * 1_000_000)


def test_a_title_is_taken_out_of_the_page() -> None:
    assert _without_title("<p><Title lang='en'>A &amp;\n B</title >x") == ("A & B", "<p>x")


def test_a_title_has_at_most_300_characters() -> None:
    assert parse(b"# " + b"x" * 1000, "a.md").title == "x" * 300
