import pytest

from rag.phrases import phrase_shares, raised
from rag.types import ChunkId

TEXTS = {
    ChunkId(1): "A heat pump moves warmth.",
    ChunkId(2): "Heat\n  pumps are quiet.",
    ChunkId(3): "The pump is a heat exchanger.",
}


def test_neighbouring_words_count_in_their_order_and_up_to_their_stem() -> None:
    shares = phrase_shares("heat pump", TEXTS)
    assert shares[ChunkId(1)] == shares[ChunkId(2)] > 0
    assert shares[ChunkId(3)] == 0


def test_what_stands_between_two_words_is_part_of_the_phrase() -> None:
    shares = phrase_shares("std::vec", {ChunkId(1): "use std::vec;", ChunkId(2): "std, and vec"})
    assert shares[ChunkId(1)] > shares[ChunkId(2)] == 0


def test_a_phrase_of_one_passage_weighs_more_than_one_of_all() -> None:
    texts = {ChunkId(n): f"cold water {'in old pipes' if n == 1 else ''}" for n in range(1, 6)}
    all_have, one_has = (phrase_shares(query, texts)[ChunkId(1)] for query in ("cold water", "old pipes"))
    assert one_has > 3 * all_have


def test_words_that_only_ask_make_no_phrase_with_their_neighbours() -> None:
    asked = phrase_shares("What does heat pump warmth?", TEXTS)
    assert asked == phrase_shares("heat pump warmth", TEXTS)


@pytest.mark.parametrize("query", ["heat", "", "?!", "what is"])
def test_a_query_without_neighbours_has_no_shares(query: str) -> None:
    assert phrase_shares(query, TEXTS) in ({}, dict.fromkeys(TEXTS, 0.0))


def test_shares_and_scores_stay_within_zero_and_one() -> None:
    shares = phrase_shares("a heat pump moves warmth", TEXTS)
    assert all(0 <= share <= 1 for share in shares.values())
    assert raised(0.4, 0.0) == 0.4 < raised(0.4, 0.5) < raised(0.4, 1.0) < 1


def test_a_phrase_begins_where_a_word_does() -> None:
    shares = phrase_shares("heat pump", {ChunkId(1): "a wheat pump", ChunkId(2): "a wheat pump, a heat pump"})
    assert shares[ChunkId(2)] > shares[ChunkId(1)] == 0


def test_where_words_have_no_spaces_a_phrase_begins_anywhere() -> None:
    assert phrase_shares("検索 機能", {ChunkId(1): "全文検索 機能", ChunkId(2): "機能"})[ChunkId(1)] > 0
