"""Wrong passages that are near a query, and not right by accident."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from finetune.encoder import negatives
from finetune.encoder.negatives import Found, PassageSearch, mine
from finetune.encoder.queries import Query
from tests.fakes.embedder import WordEmbedder


class Given:
    """Finds what it is told to, and scores every right passage alike."""

    def __init__(self, right: float, /, **found: float) -> None:
        self._right = right
        self._found = [Found(text=text, score=score) for text, score in found.items()]

    def nearest(self, queries: Sequence[str], count: int) -> list[list[Found]]:
        return [self._found[:count] for _ in queries]

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> list[float]:
        return [self._right for _ in queries]


def mined(search: negatives.Search, query: Query) -> tuple[str, ...]:
    (found,) = mine([query], search, seed=0)
    return found


def test_what_scores_nearly_as_the_right_passage_does_is_not_taken_for_wrong() -> None:
    search = Given(0.8, higher=0.9, near=0.77, wrong=0.7)
    assert mined(search, Query(text="q", passages=("a",))) == ("wrong",)


def test_where_all_score_too_high_the_furthest_is_taken() -> None:
    search = Given(0.1, first=0.9, second=0.8)
    assert mined(search, Query(text="q", passages=("a",))) == ("second",)


@pytest.mark.parametrize("said", ["the right one", "the   right\none", "right", "all of the right one and more"])
def test_a_right_passage_is_never_wrong_in_whole_or_in_part(said: str) -> None:
    search = Given(0.9, **{said: 0.5, "other": 0.4})
    assert mined(search, Query(text="q", passages=("the right one",))) == ("other",)


def test_only_what_the_file_does_not_give_is_mined() -> None:
    search = Given(0.9, b=0.5, d=0.4, e=0.3)
    rich = Query(text="q", passages=("a",), negatives=("b", "c"))
    poor = Query(text="r", passages=("a",), negatives=("b",))
    assert [len(found) for found in mine([rich, poor], search, seed=0)] == [0, 1]


def test_the_draw_depends_on_the_seed_alone() -> None:
    queries = [Query(text=f"q{number}", passages=("a",)) for number in range(20)]
    search = Given(0.9, b=0.5, c=0.4, d=0.3)
    first, again, other = (list(mine(queries, search, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_passages_that_share_words_with_a_query_are_found_first() -> None:
    embedder = WordEmbedder()
    search = PassageSearch(embedder.embed, ("iron ore", "copper pipe", "copper wire pipe"))
    ((first, second),) = search.nearest(["copper pipe"], 2)
    assert (first.text, second.text) == ("copper pipe", "copper wire pipe")
    assert search.scores(["copper pipe"], ["copper pipe"]) == [pytest.approx(1.0, abs=1e-5)]


def test_what_is_kept_is_read_again_with_every_character(tmp_path: Path) -> None:
    texts = [("a\nb", "c\u2028d"), (), ("é",)]
    negatives.write(tmp_path / "job", texts)
    assert negatives.read(tmp_path / "job") == texts
    assert negatives.read(tmp_path / "none") is None
