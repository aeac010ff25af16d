"""A cross-encoder as the judge of whether a passage answers a query."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rag.encoders.cross_encode import CrossEncoder
from rag.errors import CrossEncoderUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class CrossReranker:
    """Gives probabilities: the sigmoid of the one logit that a reranker has, whatever activation it was saved with.

    Some are saved to give the logit itself; the order is the same, and a score is then in 0..1 with any of them.
    """

    def __init__(self, model: CrossEncoder) -> None:
        """Raises CrossEncoderUnavailable for a model that has more than one label."""
        if len(model.labels) != 1:
            raise CrossEncoderUnavailable(
                f"The model {model.name!r} is no reranker: it gives {len(model.labels)} labels "
                f"({', '.join(model.labels)}), not one score.",
                hint="Choose one that was trained to rank, such as cross-encoder/ms-marco-MiniLM-L6-v2.",
            )
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def id(self) -> str:
        return self._model.id

    @property
    def tokenizer(self) -> "Tokenizer":
        return self._model.tokenizer

    def relevance(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Give for each (query, passage) the probability that it is relevant: of a long passage, its best window's."""
        return [1 / (1 + float(np.exp(-logits.max()))) for logits in self._model.logits(pairs, long=1)]
