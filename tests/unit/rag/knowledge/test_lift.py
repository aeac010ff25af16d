from hypothesis import given, strategies

from rag.knowledge.lift import LIFT, LIFTED, lift
from rag.knowledge.walk import Reached
from rag.types import ChunkId


def _reached(chunk_id, origin, strength=1.0):
    return Reached(chunk_id=ChunkId(chunk_id), origin=ChunkId(origin), strength=strength, path=("a", "b", "c"))


def _scores(*scores):
    return {ChunkId(number): score for number, score in enumerate(scores, 1)}


def test_a_passage_moves_towards_the_one_that_it_was_reached_from():
    [found] = lift(_scores(0.8, 0.1), [_reached(2, 1, strength=0.5)])
    assert (found.chunk_id, found.path) == (2, ("a", "b", "c"))
    assert found.score == 0.1 + LIFT * 0.5 * (0.8 - 0.1)


def test_a_better_passage_is_not_moved_by_a_worse_one():
    assert lift(_scores(0.2, 0.5), [_reached(2, 1)]) == []


def test_what_has_no_score_is_not_lifted():
    assert lift(_scores(0.8), [_reached(7, 1), _reached(1, 9)]) == []


def test_the_first_two_stay_first():
    [found] = lift(_scores(0.8, 0.7, 0.6, 0.1), [_reached(4, 1)])
    assert found.score == 0.7


@given(
    strategies.lists(strategies.floats(0, 1), min_size=1, max_size=20, unique=True),
    strategies.lists(strategies.tuples(strategies.integers(1, 20), strategies.integers(1, 20)), max_size=20),
)
def test_the_graph_never_drowns_what_was_found_without_it(scores, steps):
    before = _scores(*scores)
    reached = {chunk_id: _reached(chunk_id, origin) for chunk_id, origin in steps if chunk_id != origin}
    lifted = lift(before, list(reached.values()))
    after = before | {one.chunk_id: one.score for one in lifted}
    assert len(lifted) <= LIFTED
    assert max(after.values()) == max(before.values())
    moved = {one.chunk_id for one in lifted}
    for chunk_id in before.keys() - moved:
        above = sum(score > after[chunk_id] for score in after.values())
        over = sum(after[one] > after[chunk_id] >= before[one] for one in moved)
        assert over <= (above + 1) / 3
