"""Embedding texts: checked against the model's window, cut to the dimensions asked for."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from rag.ports import Embedder, Vectors
from services.api.embeddings.schemas import EmbeddingRequest, Input
from services.embedders import listed_embedder
from services.errors import BadRequest
from services.wiring import Services


def embed(services: Services, project_id: str, asked: EmbeddingRequest) -> dict[str, Any]:
    """Give the embeddings in the order of the input. Raises BadRequest, NotFound."""
    embedder = listed_embedder(services, project_id, asked.model)
    dimensions = asked.dimensions or embedder.dimensions
    if dimensions > embedder.dimensions:
        raise BadRequest(
            f"{asked.model!r} gives {embedder.dimensions} dimensions, {dimensions} were asked for.", param="dimensions"
        )
    texts = _texts(asked.input, embedder)
    tokens = _counted(texts, embedder)
    vectors = shortened(embedder.embed(texts), dimensions)
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector, asked.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked.model, "usage": usage}


def shortened(vectors: Vectors, dimensions: int) -> Vectors:
    """Keep the first dimensions of unit vectors and make them units again."""
    if dimensions == vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    units: Vectors = np.divide(kept, lengths, out=np.zeros_like(kept), where=lengths > 0)
    return units


def encoded(vector: Vectors, encoding_format: str) -> list[float] | str:
    """Give a vector as numbers, or as the base64 of its little-endian float32, which SDKs ask for."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def _texts(given: Input, embedder: Embedder) -> list[str]:
    if isinstance(given, str):
        return [given]
    if texts := [one for one in given if isinstance(one, str)]:
        return texts
    lists = [one for one in given if isinstance(one, list)] or [[one for one in given if isinstance(one, int)]]
    size = embedder.tokenizer.get_vocab_size()
    for place, ids in enumerate(lists):
        if max(ids) >= size:
            raise BadRequest(
                f"input[{place}] holds the token {max(ids)}; the last one is {size - 1}. "
                "It is of another model's tokenizer. Send the text itself.",
                param="input",
            )
    return embedder.tokenizer.decode_batch(lists)


def _counted(texts: Sequence[str], embedder: Embedder) -> int:
    """Count the tokens of all texts. Raises BadRequest for an empty text and for one that would be cut."""
    total = 0
    for place, encoding in enumerate(embedder.tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        if not texts[place].strip():
            raise BadRequest(f"input[{place}] is empty: every input must have text.", param="input")
        if len(encoding) > embedder.max_tokens:
            raise BadRequest(
                f"{embedder.name!r} reads at most {embedder.max_tokens} tokens, input[{place}] has {len(encoding)}. "
                "Please reduce the length of the input.",
                param="input",
                code="context_length_exceeded",
            )
        total += len(encoding)
    return total
