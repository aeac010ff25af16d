"""What the graph found, among what the question found by itself: it can lift a passage, and not drown the others.

    score_i -> score_i + LIFT * strength_i * (score of the passage that the path begins in - score_i)

So none gets above the passage that it was reached from. The ranks bound it too: of the passages that the graph has
lifted at most one is among the first three, two among the first six, and so on, and never more than LIFTED in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag.knowledge.walk import Reached
from rag.types import ChunkId

LIFT = 0.9
LIFTED = 4
BELOW = 2
"""So many others stand above each passage that is lifted, beside those above the one lifted before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """A passage's score by the graph, and the path to it."""

    chunk_id: ChunkId
    score: float
    path: tuple[str, ...]


def lift(scores: Mapping[ChunkId, float], reached: Sequence[Reached]) -> list[Lifted]:
    """Give the passages that get a better score, the best first.

    `scores` are those of all passages that the question found, best first, and of those that were reached.
    """
    wanted = [
        Lifted(chunk_id=one.chunk_id, score=own + LIFT * one.strength * (scores[one.origin] - own), path=one.path)
        for one in reached
        if (own := scores.get(one.chunk_id)) is not None and scores.get(one.origin, own) > own
    ]
    best = sorted(wanted, key=lambda one: (-one.score, one.chunk_id))[:LIFTED]
    chosen = {one.chunk_id for one in best}
    others = sorted((score for chunk_id, score in scores.items() if chunk_id not in chosen), reverse=True)
    return [
        kept
        for number, one in enumerate(best, 1)
        if (kept := _bounded(one, others, BELOW * number)).score > scores[one.chunk_id]
    ]


def _bounded(one: Lifted, others: Sequence[float], below: int) -> Lifted:
    """Keep a passage under the first so many of the others, where there are as many."""
    most = others[below - 1] if len(others) >= below else one.score
    return one if one.score <= most else Lifted(chunk_id=one.chunk_id, score=most, path=one.path)
