"""The coefficients of the extractive answerer, as `tests/quality/calibrate_abstention.py` fits and prints them.

Fitted on every second article of SQuAD v2's dev set, retrieved from all of them with the default
weights, and on questions about other texts; README, Abstention, has the curve on the articles that
were left out. Cosines differ from embedder to embedder: another one needs its own calibration.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Coefficients by the names in `evidence.SELECTION` and `evidence.ABSTENTION`."""

    selection: Mapping[str, float]
    abstention: Mapping[str, float]
    intercept: float
    threshold: float


ALL_MINILM_L6_V2 = Calibration(
    selection={
        "sentence_cosine": 5.39,
        "passage_cosine": 5.99,
        "best_cosine_in_passage": 9.21,
        "rare_words": 4.27,
        "near_words": 1.45,
        "passage_words": 5.74,
        "word_pairs": 1.13,
        "answer_kind": 1.11,
        "new_words": 0.31,
    },
    abstention={
        "best_sentence_cosine": 7.05,
        "best_passage_cosine": 2.26,
        "missing_number": -2.53,
        "missing_names": -1.45,
        "new_words": 0.3,
        "contradiction": -1.89,
    },
    intercept=-5.58,
    threshold=0.41,
)
