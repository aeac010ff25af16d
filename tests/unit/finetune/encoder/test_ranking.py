"""nDCG of what an embedder ranks."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from finetune.encoder import ranking
from finetune.encoder.queries import Query
from finetune.encoder.ranking import Vectors, field, ndcg

ANGLES = {"q": 0, "near": 10, "far": 60, "right": 30}


def encode(texts: Sequence[str]) -> Vectors:
    """Give each text a direction: the query looks along the first axis, passages turn away from it."""
    angles = [math.radians(ANGLES.get(text, 90)) for text in texts]
    return np.array([(math.cos(angle), math.sin(angle)) for angle in angles], dtype=np.float32)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        (("near",), 1.0),
        (("right",), 1 / math.log2(3)),
        (("near", "far"), (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))),
    ],
)
def test_a_right_passage_gains_less_the_lower_it_ranks(right: tuple[str, ...], expected: float) -> None:
    query = Query(text="q", passages=right)
    assert ndcg([query], ("far", "right", "near"), encode) == pytest.approx(expected)


def test_what_ranks_below_ten_gains_nothing() -> None:
    others = [f"other {number}" for number in range(10)]
    ranked = ndcg([Query(text="q", passages=("last",))], (*others, "last"), encode)
    assert ranked == 0.0


def test_the_mean_is_over_queries() -> None:
    found, lost = Query(text="q", passages=("near",)), Query(text="q", passages=("right",))
    assert ndcg([found, lost], ("near", "right"), encode) == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_the_field_has_every_right_passage_and_no_more_others_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_PASSAGES", 3)
    asked = [Query(text="q", passages=("a", "b"))]
    assert field(asked, ("c", "a", "d")) == ("a", "b", "c")
