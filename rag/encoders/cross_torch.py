"""The cross-encoder that runs sentence-transformers itself: slower, and for every model that it can load."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.encoders.cross_openvino import by_pair
from rag.encoders.cross_windows import Pair, Side, pair_windows
from rag.ports import Vectors

if TYPE_CHECKING:
    from tokenizers import Encoding

MAX_PAIR_TOKENS = 512
"""Of models that read more: what rerankers are trained on is rarely longer, and attention costs the square of it."""


def labels_of(model: Any) -> tuple[str, ...]:
    """The names of a sentence-transformers CrossEncoder's labels, in the order of its logits."""
    named = getattr(model.config, "id2label", None) or {}
    return tuple(str(named.get(place, f"LABEL_{place}")) for place in range(model.num_labels))


def limit_of(model: Any) -> int:
    return min(int(model.max_seq_length or MAX_PAIR_TOKENS), MAX_PAIR_TOKENS)


def raw_logits(model: Any, pairs: Sequence[Pair]) -> Vectors:
    """Give `float32 [pairs, labels]`, before any activation."""
    import torch

    given = model.predict(list(pairs), activation_fn=torch.nn.Identity(), show_progress_bar=False)
    return np.asarray(given, dtype=np.float32).reshape(len(pairs), model.num_labels)


class TorchCrossEncoder:
    """One list of pairs at a time: torch's own threads fill the cores."""

    def __init__(self, folder: Path, *, name: str, id: str) -> None:
        from sentence_transformers import CrossEncoder
        from tokenizers import Tokenizer

        self.name = name
        self.id = id
        self._model = CrossEncoder(str(folder), device="cpu")
        self._lock = threading.Lock()
        self.labels = labels_of(self._model)
        self.limit = limit_of(self._model)
        # A copy: sentence-transformers sets truncation and padding on its own at each call.
        self.tokenizer: Tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def logits(self, pairs: Sequence[Pair], *, long: Side = 1) -> list[Vectors]:
        """Give for each pair `float32 [w, l]`: the logits of its windows, one at least, in order."""
        if not pairs:
            return []
        windows = pair_windows(pairs, self.tokenizer, limit=self.limit, long=long)
        texts = [(_text(pairs[one.pair][0], one.texts[0]), _text(pairs[one.pair][1], one.texts[1])) for one in windows]
        with self._lock:
            return by_pair(windows, raw_logits(self._model, texts))


def _text(text: str, part: "Encoding") -> str:
    return text[part.offsets[0][0] : part.offsets[-1][1]] if part.ids else ""
