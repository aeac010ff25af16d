from pathlib import Path

import numpy as np
import pytest

from rag.lexical import TextIndex
from rag.ports import IndexRow
from rag.types import ChunkId

NOTHING = np.empty(0, dtype=np.int64)


def row(chunk_id: int, text: str, title: str = "", headings: tuple[str, ...] = ()) -> IndexRow:
    vectors = np.zeros((1, 2), dtype=np.float32)
    return IndexRow(chunk_id=ChunkId(chunk_id), title=title, heading_path=headings, text=text, vectors=vectors)


@pytest.fixture
def index(tmp_path: Path) -> TextIndex:
    index = TextIndex(tmp_path)
    rows = [
        row(1, "The cat sleeps on the mat."),
        row(2, "Dogs chase cats, and cats run."),
        row(3, "Stocks fell sharply on Monday.", title="Markets", headings=("Europe", "Paris")),
    ]
    index.update(add=rows, remove=NOTHING)
    return index


def found(index: TextIndex, query: str, limit: int = 10) -> list[int]:
    return list(index.search(query, limit).scores)


def test_the_chunk_that_says_it_more_often_comes_first(index: TextIndex) -> None:
    assert found(index, "cat") == [2, 1]


@pytest.mark.parametrize("query", ["CAT", "cats", "cat's", "què càt"])
def test_case_number_and_accents_do_not_matter(index: TextIndex, query: str) -> None:
    assert set(found(index, query)) == {1, 2}


@pytest.mark.parametrize("query", ["markets", "europe", "paris"])
def test_titles_and_headings_are_searched(index: TextIndex, query: str) -> None:
    assert found(index, query) == [3]


def test_words_that_only_ask_find_nothing(index: TextIndex) -> None:
    assert found(index, "what did the who and how is it") == []


def test_no_more_than_the_limit_is_given(index: TextIndex) -> None:
    assert found(index, "cat", limit=1) == [2]


@pytest.mark.parametrize(
    "query",
    ["", "   ", '"', "cat AND (", "terms:cat^2", "*", "cat\0\0", "+-!{}[]~:\\/", "\u202e\ufeff", "x" * 100_000],
)
def test_no_query_is_malformed(index: TextIndex, query: str) -> None:
    assert set(found(index, query)) <= {1, 2}


def test_a_query_of_a_hundred_thousand_words_is_cut(index: TextIndex) -> None:
    assert set(found(index, "cat " + " ".join(f"w{i}" for i in range(100_000)))) == {1, 2}


def test_only_chunks_within_are_found(index: TextIndex) -> None:
    scores = index.search("cat", 10, np.array([1, 3])).scores
    assert scores == {1: pytest.approx(index.search("cat", 10).scores[1])}


def test_within_nothing_finds_nothing(index: TextIndex) -> None:
    assert index.search("cat", 10, NOTHING).scores == {}


def test_a_passage_never_scores_above_the_ceiling(index: TextIndex) -> None:
    index.update(add=[row(4, "cat " * 500)], remove=NOTHING)
    result = index.search("cat", 10)
    assert 0.9 * result.ceiling < max(result.scores.values()) <= result.ceiling


def test_a_word_that_no_chunk_holds_raises_the_ceiling(index: TextIndex) -> None:
    known, unknown = index.search("cat", 10), index.search("cat zeppelin", 10)
    assert unknown.scores == known.scores
    assert unknown.ceiling > 2 * known.ceiling


def test_a_removed_chunk_is_not_found(index: TextIndex) -> None:
    index.update(add=[], remove=np.array([2]))
    assert found(index, "cat") == [1]
    assert index.ids.tolist() == [1, 3]


def test_adding_a_chunk_again_leaves_one(index: TextIndex) -> None:
    index.update(add=[row(1, "The cat sleeps on the mat.")], remove=NOTHING)
    assert index.ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("text", "query"), [("東京都の人口は多い", "人口"), ("กรุงเทพมหานคร", "เทพ"), ("北京", "北京")])
def test_text_without_spaces_is_found_by_its_parts(tmp_path: Path, text: str, query: str) -> None:
    index = TextIndex(tmp_path)
    index.update(add=[row(1, text), row(2, "大阪")], remove=NOTHING)
    assert found(index, query) == [1]


def test_another_index_on_the_same_folder_sees_a_commit_after_reload(index: TextIndex, tmp_path: Path) -> None:
    other = TextIndex(tmp_path)
    index.update(add=[row(9, "zebra")], remove=NOTHING)
    assert found(other, "zebra") == []
    other.reload()
    assert found(other, "zebra") == [9]
