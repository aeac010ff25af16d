"""A cross-encoder as the judge of whether one text says what another states (natural language inference)."""

from collections.abc import Sequence

import numpy as np

from rag.encoders.cross_encode import CrossEncoder
from rag.errors import CrossEncoderUnavailable

ENTAILMENT = "entailment"


class CrossEntailment:
    """An Entailment by a model that has a label of that name."""

    def __init__(self, model: CrossEncoder) -> None:
        """Raises CrossEncoderUnavailable for a model without such a label."""
        labels = [label.lower() for label in model.labels]
        if ENTAILMENT not in labels or len(labels) < 2:
            raise CrossEncoderUnavailable(
                f"The model {model.name!r} judges no entailment: its labels are {', '.join(model.labels)}.",
                hint=f"Its config.json must name one of them {ENTAILMENT!r} (id2label), as in cross-encoder/nli-….",
            )
        self._model = model
        self._entailment = labels.index(ENTAILMENT)

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def id(self) -> str:
        return self._model.id

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Give for each (text, statement) the probability that the text says so: of a long text, its best window's."""
        return [self._best(logits) for logits in self._model.logits(pairs, long=0)]

    def _best(self, logits: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> float:
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        return float((likely[:, self._entailment] / likely.sum(axis=1)).max())
