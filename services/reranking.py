"""Cross-encoders opened as the settings say, what reranks and what judges entailment; and how texts are reranked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import CrossEncoderUnavailable
from rag.ports import Embedder
from services.settings import Settings

if TYPE_CHECKING:
    from tokenizers import Encoding

    from rag.encoders.cross_encode import CrossEncoder
    from rag.encoders.cross_entail import CrossEntailment
    from rag.encoders.cross_rerank import CrossReranker

RERANKER = "reranker"
"""The kind of a model that reranks."""

OVERLAP = 4
"""A window of a text begins a quarter of it before the end of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Texts' scores in their order, and how many tokens were read, the query's once."""

    scores: Sequence[float]
    tokens: int


def load_reranker(settings: Settings) -> "CrossReranker | None":
    """Give the reranker, None where the settings name none. Raises CrossEncoderUnavailable."""
    if settings.reranker is None:
        return None
    from rag.encoders.cross_rerank import CrossReranker

    try:
        return CrossReranker(_open(settings, settings.reranker))
    except CrossEncoderUnavailable as exc:
        raise CrossEncoderUnavailable(f"LOAM_RERANKER: {exc}") from exc


def load_entailment(settings: Settings) -> "CrossEntailment | None":
    """Give what judges entailment, None where the settings name none. Raises CrossEncoderUnavailable."""
    if settings.entailment is None:
        return None
    from rag.encoders.cross_entail import CrossEntailment

    try:
        return CrossEntailment(_open(settings, settings.entailment))
    except CrossEncoderUnavailable as exc:
        raise CrossEncoderUnavailable(f"LOAM_ENTAILMENT: {exc}") from exc


def _open(settings: Settings, source: str) -> "CrossEncoder":
    from rag.encoders.cross_encode import open_cross_encoder

    return open_cross_encoder(source, cache_dir=settings.cache, threads=settings.embedder_threads, download=True)


def scored_by_reranker(reranker: "CrossReranker", query: str, texts: Sequence[str], max_tokens: int) -> Scored:
    """Score by the probability that a text's first `max_tokens` tokens answer the query."""
    asked, *encodings = reranker.tokenizer.encode_batch([query, *texts], add_special_tokens=False)
    read = [_head(text, encoding, max_tokens) for text, encoding in zip(texts, encodings, strict=True)]
    scores = reranker.relevance([(query, text) for text in read])
    return Scored(scores=scores, tokens=len(asked) + sum(min(len(one), max_tokens) for one in encodings))


def scored_by_cosine(embedder: Embedder, query: str, texts: Sequence[str], max_tokens: int) -> Scored:
    """Score by the cosine, -1 to 1, of the query with the best window of a text's first `max_tokens` tokens."""
    asked, *encodings = embedder.tokenizer.encode_batch([query, *texts], add_special_tokens=False)
    windows = [
        (place, window)
        for place, (text, encoding) in enumerate(zip(texts, encodings, strict=True))
        for window in _windows(_head(text, encoding, max_tokens), encoding, embedder.max_tokens)
    ]
    vectors = embedder.embed([query, *(window for _, window in windows)])
    scores = np.full(len(texts), -1.0, dtype=np.float32)
    np.maximum.at(scores, [place for place, _ in windows], vectors[1:] @ vectors[0])
    return Scored(scores=scores.tolist(), tokens=len(asked) + sum(min(len(one), max_tokens) for one in encodings))


def _head(text: str, encoding: "Encoding", tokens: int) -> str:
    return text if len(encoding) <= tokens else text[: encoding.offsets[tokens - 1][1]]


def _windows(text: str, encoding: "Encoding", size: int) -> Iterator[str]:
    """Cut a text, the head of what was encoded, into windows of `size` tokens; one is there at least."""
    spans = [span for span in encoding.offsets if span[1] <= len(text)]
    step = max(1, size - size // OVERLAP)
    for start in range(0, max(1, len(spans) - size + step), step):
        part = spans[start : start + size]
        yield text[part[0][0] : part[-1][1]] if part else ""
