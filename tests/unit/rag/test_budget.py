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


RULE = "The permit costs 60 euros and is valid for ten years, if it is paid for within a month."


def test_the_same_text_in_two_files_is_one_source():
    assert _chosen(_hits(RULE.replace("permit", "**permit**").replace(" is", "\nis"), RULE, "Dogs pay."), 50) == [1, 3]


def test_a_text_that_a_better_source_holds_is_left_out():
    assert _chosen(_hits(f"{RULE} It can be renewed.", RULE), 50) == [1]


def test_texts_that_differ_in_one_word_are_both_sources():
    assert _chosen(_hits(RULE, RULE.replace("60", "70")), 50) == [1, 2]


def test_a_short_text_may_stand_in_two_places():
    assert _chosen(_hits("Not supported.", "Not supported."), 50) == [1, 2]
