"""Passages that differ from each other before more of the same: maximal marginal relevance, where it is asked for.

    next = argmax of (1 - diversity) * score_i - diversity * greatest cosine of i with one that is chosen

(Carbonell and Goldstein, 1998). Scores are left as they are: only the order changes, and so what is among the first.
"""

from collections.abc import Sequence

import numpy as np

from rag.ports import ChunkVectors


def diverse(scores: Sequence[float], chunks: Sequence[ChunkVectors], diversity: float, count: int) -> list[int]:
    """Give the positions of the `count` chosen, first to last; of equals the first. `diversity` is in 0..1."""
    if not chunks:
        return []
    middles = np.stack([chunk.middle for chunk in chunks])
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-12)
    worth = (1 - diversity) * np.asarray(scores, dtype=np.float64)
    nearest = np.zeros(len(chunks))
    chosen: list[int] = []
    for _ in range(min(count, len(chunks))):
        marginal = worth - diversity * nearest
        marginal[chosen] = -np.inf
        chosen.append(int(marginal.argmax()))
        nearest = np.maximum(nearest, middles @ middles[chosen[-1]])
    return chosen
