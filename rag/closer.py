"""A closer look at the best candidates of a search: at the sentences in them, and at each other.

    meaning = (1 - SENTENCE_SHARE) * cosine + SENTENCE_SHARE * cosine of the best sentence
    fused   = the weighted mean of meaning and words                                        (rag.fuse)
    score_i = (fused_i + sum of w_ij * fused_j) / (1 + sum of w_ij)
    w_ij    = reading * NEIGHBOUR_WEIGHT * cosine_ij² / NEAREST

The first line searches two granularities as one: a long passage that answers in one sentence is as near as that
sentence. The last two move each score towards those of the NEAREST other candidates, as far as these are near: passages
that lie close together answer the same questions (the cluster hypothesis, Jardine and van Rijsbergen, 1971; on scores,
Diaz, 2005, "Regularizing ad hoc retrieval scores"). A passage near to none keeps its own, and all do where the embedder
cannot read the query (`rag.reading`), nor then its passages. Both need the vectors of the candidates alone. What they
gain is in rag/README.md, Fusion.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.ports import ChunkVectors, Vectors
from rag.types import ChunkId

SENTENCE_SHARE = 0.75
NEAREST = 8
NEIGHBOUR_WEIGHT = 2.0

Scores = NDArray[np.float64]


def sentence_cosines(query: Vectors, chunks: Mapping[ChunkId, ChunkVectors]) -> dict[ChunkId, float]:
    """Give the cosine of each chunk's best sentence; chunks without sentences are left out."""
    # A passage has a dozen: Python's maximum of so many is found before NumPy's has begun.
    return {
        chunk_id: max((chunk.sentences @ query).tolist()) for chunk_id, chunk in chunks.items() if len(chunk.sentences)
    }


def meanings(cosines: Mapping[ChunkId, float], sentences: Mapping[ChunkId, float]) -> dict[ChunkId, float]:
    """Give each passage's cosine and that of its best sentence as one; its own alone where it has no sentence."""
    return {
        chunk_id: (1 - SENTENCE_SHARE) * cosine + SENTENCE_SHARE * sentences.get(chunk_id, cosine)
        for chunk_id, cosine in cosines.items()
    }


def evened(fused: Sequence[float], chunks: Sequence[ChunkVectors], reading: float = 1.0) -> Scores:
    """Give the scores `[n]` after each has been moved towards those of its nearest neighbours."""
    scores = np.asarray(fused, dtype=np.float64)
    if len(scores) < 2:
        return scores
    weights = reading * _weights(np.concatenate([chunk.middle for chunk in chunks]).reshape(len(chunks), -1))
    evened: Scores = (scores + weights @ scores) / (1 + weights.sum(axis=1))
    return evened


def _weights(middles: Vectors) -> Scores:
    """How much each passage's score moves towards each other's, `[n, n]`."""
    lengths = np.sqrt(np.add.reduce(middles * middles, axis=1, keepdims=True))
    unit = middles / np.maximum(lengths, 1e-12)
    cosines: Scores = np.maximum(unit @ unit.T, 0).astype(np.float64)
    cosines.ravel()[:: len(cosines) + 1] = 0
    if len(cosines) > NEAREST:
        least = np.partition(cosines, -NEAREST, axis=1)[:, -NEAREST, None]
        cosines[cosines < least] = 0
    return NEIGHBOUR_WEIGHT * cosines**2 / NEAREST
