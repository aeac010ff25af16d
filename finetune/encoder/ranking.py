"""How well an embedder ranks: nDCG@10 of queries whose right passages are known."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from finetune.encoder.queries import Query

Vectors: TypeAlias = NDArray[np.float32]
Encode: TypeAlias = Callable[[Sequence[str]], Vectors]
"""Texts to `float32 [texts, dimensions]`, rows of length 1."""

DEPTH = 10
MOST_PASSAGES = 20_000
QUERIES_AT_ONCE = 256


def field(queries: Sequence[Query], others: Sequence[str]) -> tuple[str, ...]:
    """Give the passages to rank among: those of the queries, then others, each once and MOST_PASSAGES at most."""
    right = dict.fromkeys(text for query in queries for text in query.passages)
    return tuple((right | dict.fromkeys(others)).keys())[: max(MOST_PASSAGES, len(right))]


def ndcg(queries: Sequence[Query], passages: Sequence[str], encode: Encode) -> float:
    """Give the mean nDCG@10 of the queries' cosines with the passages; every right passage gains 1.

    Järvelin and Kekäläinen 2002, as trec_eval computes it: gain / log2(rank + 1), over the best there could be.
    """
    place = {text: index for index, text in enumerate(passages)}
    vectors = encode(passages)
    gains = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[start : start + QUERIES_AT_ONCE]
        cosines = encode([query.text for query in some]) @ vectors.T
        # Stable, so that equal cosines rank in the order of the passages on every machine.
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :DEPTH]
        for ranking, query in zip(order.tolist(), some, strict=True):
            gains.append(_gain(ranking, {place[text] for text in query.passages}))
    return sum(gains) / len(gains)


def _gain(ranking: Sequence[int], right: set[int]) -> float:
    found = sum(1 / math.log2(rank + 2) for rank, passage in enumerate(ranking) if passage in right)
    return found / sum(1 / math.log2(rank + 2) for rank in range(min(DEPTH, len(right))))
