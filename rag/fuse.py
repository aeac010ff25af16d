"""Two scores of one passage, by meaning and by words, made into one in 0..1.

    score = (w_embedding * cosine + w_text * BM25 / ceiling) / (w_embedding + w_text)

The ceiling is the BM25 of a passage full of every word of the query, so that BM25 / ceiling is the
share of the question's words, weighed by rarity, that the passage holds. Both terms mean the same
for every query and every size of store: the best passage of a store that holds no answer does not
get 1 for being the best. Where the embedder cannot read the query, its weight shrinks (`rag.reading`). Other
formulas, and what they scored, are in rag/README.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rag.errors import InvalidRanking
from rag.lexical import TextScores
from rag.types import ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each side counts, relative to the other; a side of weight 0 is not searched."""

    embedding: float = 0.5
    text: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.embedding < float("inf") and 0 <= self.text < float("inf")):
            raise InvalidRanking(f"Weights must be 0 or more, not {self.embedding!r} and {self.text!r}.")
        if self.embedding + self.text == 0:
            raise InvalidRanking("At least one of the two weights must be greater than 0.")

    def as_read(self, reading: float) -> "Weights":
        """Give the weights for a query that the embedder can read this far, 0 to 1; one side alone stays alone."""
        return replace(self, embedding=self.embedding * reading) if self.text else self


def fuse(cosines: Mapping[ChunkId, float], text: TextScores, weights: Weights) -> dict[ChunkId, float]:
    """Give the fused score of every chunk that either side found; what a side did not find counts as 0 there."""
    total = weights.embedding + weights.text
    by_meaning = weights.embedding / total
    by_words = weights.text / total / text.ceiling if text.ceiling else 0.0
    most = weights.text / total
    # Hundreds a query: what is out of 0..1 by rounding is mended without a call.
    fused = {one: by_meaning * (0.0 if cos < 0 else 1.0 if cos > 1 else cos) for one, cos in cosines.items()}
    for one, bm25 in text.scores.items():
        share = by_words * bm25
        fused[one] = fused.get(one, 0.0) + (0.0 if share < 0 else most if share > most else share)
    return fused
