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


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> TextIndex:
    """Two thousand chunks with words of which some are rare; the odd ones alone say `odd`."""
    random = np.random.default_rng(0)
    index = TextIndex(tmp_path_factory.mktemp("large"))
    texts = (" ".join(f"w{number}" for number in random.zipf(1.5, 12) % 500) for _ in range(2000))
    rows = [row(id_, f"{text} odd" if id_ % 2 else text) for id_, text in enumerate(texts)]
    index.update(add=rows, remove=NOTHING)
    return index


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_a_filter_gives_the_best_of_what_it_keeps(large: TextIndex, share: float) -> None:
    within = np.sort(np.random.default_rng(1).choice(2000, round(2000 * share), replace=False))
    everything = large.search("w1 w7 w30", 2000).scores
    expected = {id_: score for id_, score in everything.items() if id_ in set(within.tolist())}
    found = large.search("w1 w7 w30", 10, within).scores
    assert len(found) == min(10, len(expected))
    assert sorted(found.values()) == pytest.approx(sorted(expected.values())[-10:])
    assert all(expected[id_] == pytest.approx(score) for id_, score in found.items())


def test_a_filter_that_keeps_many_but_none_of_the_best_finds_them(large: TextIndex) -> None:
    even = np.arange(0, 2000, 2)
    expected = [id_ for id_ in large.search("odd w1", 2000).scores if id_ % 2 == 0]
    assert expected
    assert len(large.search("odd w1", 10, even).scores) == min(10, len(expected))


def test_ids_follow_what_another_commits(tmp_path: Path) -> None:
    index = TextIndex(tmp_path)
    index.update(add=[row(id_, "cat") for id_ in range(1, 200)], remove=NOTHING)
    other = TextIndex(tmp_path)
    index.update(add=[row(id_, "cat") for id_ in range(200, 400)], remove=NOTHING)
    other.reload()
    assert other.ids.tolist() == list(range(1, 400))
    index.update(add=[row(400, "cat")], remove=np.array([5, 399]))
    other.reload()
    assert other.ids.tolist() == index.ids.tolist() == [*range(1, 5), *range(6, 399), 400]
    index.update(add=[row(5, "cat")], remove=NOTHING)
    other.reload()
    assert other.ids.tolist() == index.ids.tolist() == [*range(1, 399), 400]
