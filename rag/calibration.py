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
        "sentence_cosine": 5.35,
        "passage_cosine": 4.95,
        "best_cosine_in_passage": 9.84,
        "rare_words": 4.17,
        "near_words": 1.4,
        "passage_words": 5.5,
        "word_pairs": 1.17,
        "answer_kind": 1.1,
        "new_words": 0.3,
    },
    abstention={
        "best_sentence_cosine": 6.12,
        "best_passage_cosine": 1.65,
        "missing_number": -2.44,
        "missing_names": -1.29,
        "new_words": 0.24,
        "contradiction": -1.92,
    },
    intercept=-4.86,
    threshold=0.38,
)
