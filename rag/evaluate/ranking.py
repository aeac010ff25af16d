"""How well a ranking found the right texts: recall, reciprocal rank and nDCG of one question.

As trec_eval and BEIR have them (Thakur et al. 2021): a text is right whose grade is above 0, gains are the
grades themselves and not powers of two, and the best possible ranking is made of all that was judged.
"""

import math
from collections.abc import Mapping, Sequence


def recall(ranking: Sequence[int], relevant: Mapping[int, int], k: int) -> float:
    """The share of the right texts that are among the first k."""
    return len(relevant.keys() & set(ranking[:k])) / len(relevant)


def reciprocal_rank(ranking: Sequence[int], relevant: Mapping[int, int], k: int = 10) -> float:
    """One over the rank of the first right text; 0 if none is among the first k."""
    return next((1 / rank for rank, text in enumerate(ranking[:k], start=1) if text in relevant), 0.0)


def ndcg(ranking: Sequence[int], relevant: Mapping[int, int], k: int = 10) -> float:
    """The discounted gain of the first k as a share of the best possible (Järvelin and Kekäläinen 2002)."""
    return _dcg([relevant.get(text, 0) for text in ranking[:k]]) / _dcg(sorted(relevant.values(), reverse=True)[:k])


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
