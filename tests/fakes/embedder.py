"""An embedder that knows words and nothing else: texts that share words are near."""

import zlib
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from rag.ports import Vectors
from rag.sentences import Span


class WordEmbedder:
    """Each word turns on one dimension, chosen by its checksum."""

    name = "words"
    id = "words-1"
    dimensions = 64
    max_tokens = 8

    def __init__(self) -> None:
        self.tokenizer = Tokenizer(WordLevel({"word": 0}, unk_token="word"))
        self.tokenizer.pre_tokenizer = Whitespace()
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen.extend(texts)
        return self._vectors(texts)

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        return [
            np.concatenate([vector[None], self._vectors([text[span.start : span.end] for span in inside])])
            for text, vector, inside in zip(texts, self.embed(texts), spans, strict=True)
        ]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        vectors = np.full((len(texts), self.dimensions), 1e-6, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % self.dimensions] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
