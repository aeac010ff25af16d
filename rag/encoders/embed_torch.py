"""The embedder that runs sentence-transformers itself: slower, and for every model that it can load."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rag.ports import Vectors
from rag.sentences import Span


class SentenceTransformerEmbedder:
    """One text list at a time: torch's own threads fill the cores."""

    def __init__(self, folder: Path, *, name: str, id: str) -> None:
        from sentence_transformers import SentenceTransformer
        from tokenizers import Tokenizer

        self.name = name
        self.id = id
        self._model = SentenceTransformer(str(folder), device="cpu")
        self._lock = threading.Lock()
        # A copy: sentence-transformers sets truncation and padding on its own at each call.
        self.tokenizer: Tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.max_tokens = int(self._model.max_seq_length) - self.tokenizer.num_special_tokens_to_add(False)
        self.dimensions = int(self._model.get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give `float32 [len(texts), dimensions]`, rows of length 1, in the order of `texts`."""
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        with self._lock:
            vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """Give each text's own vector alone, `float32 [1, dimensions]`: spans have none here."""
        return [vector[None] for vector in self.embed(texts)]
