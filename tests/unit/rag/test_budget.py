from rag.budget import within_budget
from rag.types import ChunkId, Hit, Passage


def _hits(*texts):
    passages = [
        Passage(chunk_id=ChunkId(number), file_id="file-1", filename="a.txt", text=text, start=0, end=len(text))
        for number, text in enumerate(texts, start=1)
    ]
    return [Hit(passage=passage, score=0.5, rank=passage.chunk_id) for passage in passages]


def _chosen(hits, max_tokens):
    return [hit.rank for hit in within_budget(hits, max_tokens, lambda text: len(text.split()))]


def test_hits_are_kept_in_order_while_they_fit():
    assert _chosen(_hits("a b", "c d", "e f"), 4) == [1, 2]


def test_hit_that_is_too_large_makes_room_for_smaller_ones():
    assert _chosen(_hits("a b", "c d e f", "g"), 3) == [1, 3]


def test_first_hit_is_kept_even_when_it_is_too_large():
    assert _chosen(_hits("a b c d", "e"), 2) == [1]


def test_nothing_found_gives_nothing():
    assert _chosen([], 10) == []
