"""The words' embedder and a tuned one, which knows that `copper` and `metal` are near, as if it were registered."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rag.ports import Vectors
from services.embedders import Embedders
from services.wiring import Services
from tests.fakes.embedder import WordEmbedder

TUNED = "ft:words:default::1"


class Tuned(WordEmbedder):
    """Has twice as many dimensions as the words' embedder."""

    name = TUNED
    id = "tuned-1"
    dimensions = 128

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen.extend(texts)
        vectors = np.full((len(texts), self.dimensions), 1e-6, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace("metal", "copper").split():
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Two(Embedders):
    def __init__(self, services: Services, tuned: Tuned) -> None:
        super().__init__(services.database, lambda: services.embedder, lambda folder, name: tuned)

    def _folder(self, project_id: str, name: str) -> Path | None:
        return Path("tuned") if name == TUNED else None
