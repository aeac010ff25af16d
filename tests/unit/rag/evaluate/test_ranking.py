"""The formulas by hand, and held against scikit-learn's, which are others' work."""

import math
import random

import pytest
from sklearn.metrics import ndcg_score

from rag.evaluate.ranking import ndcg, recall, reciprocal_rank

GRADES = {3: 2, 7: 1}


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        ([3, 7], 1.0),
        ([7, 3], (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        ([0, 3], (2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        ([0, 1], 0.0),
        ([], 0.0),
    ],
)
def test_ndcg_by_hand(ranking: list[int], expected: float) -> None:
    assert ndcg(ranking, GRADES) == pytest.approx(expected)


def test_recall_counts_the_right_ones_among_the_first() -> None:
    assert [recall([0, 3, 1, 7], GRADES, k) for k in (1, 2, 3, 4)] == [0.0, 0.5, 0.5, 1.0]


def test_reciprocal_rank_ends_at_k() -> None:
    assert reciprocal_rank([0, 1, 7], GRADES) == pytest.approx(1 / 3)
    assert reciprocal_rank([0, 1, 7], GRADES, k=2) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_ndcg_is_that_of_scikit_learn(seed: int) -> None:
    draw = random.Random(seed)
    relevant = {place: draw.randint(1, 4) for place in draw.sample(range(50), draw.randint(1, 15))}
    ranking = draw.sample(range(50), 50)
    truth = [[relevant.get(place, 0) for place in range(50)]]
    scores = [[-ranking.index(place) for place in range(50)]]
    assert ndcg(ranking, relevant) == pytest.approx(ndcg_score(truth, scores, k=10))
