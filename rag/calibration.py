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
        "sentence_cosine": 5.24,
        "passage_cosine": 5.74,
        "best_cosine_in_passage": 9.24,
        "rare_words": 4.11,
        "near_words": 1.48,
        "passage_words": 5.88,
        "word_pairs": 1.18,
        "answer_kind": 1.1,
        "new_words": 0.29,
    },
    abstention={
        "best_sentence_cosine": 7.03,
        "best_passage_cosine": 2.22,
        "missing_number": -2.55,
        "missing_names": -1.44,
        "new_words": 0.29,
        "contradiction": -1.88,
    },
    intercept=-5.53,
    threshold=0.41,
)
