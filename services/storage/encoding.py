"""How vectors are written in the database: a text's own in float32, those of its sentences in 8 bits."""

import zlib

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors

STEPS = 127


def decode_vector(stored: bytes) -> Vectors:
    return np.frombuffer(stored, dtype="<f4")


def encode_vector(vector: Vectors) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def decode_sentences(stored: bytes | None, dimensions: int) -> Vectors:
    """Give `float32 [s, dimensions]`, rows of length 1."""
    steps: Vectors = np.frombuffer(stored or b"", dtype=np.int8).reshape(-1, dimensions).astype(np.float32)
    # In place: every search decodes hundreds, and memory for two copies of them takes longer to come by than the work.
    lengths = np.sqrt(np.einsum("sd,sd->s", steps, steps))
    steps /= np.maximum(lengths, 1e-12)[:, None]
    return steps


def encode_sentences(vectors: Vectors) -> bytes:
    """Write `[s, dimensions]`, the largest number of each row as 127 steps: a cosine is off by some .0005."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0), 1e-12)
    steps: NDArray[np.int8] = np.round(vectors / largest * STEPS).astype(np.int8)
    return steps.tobytes()


def checksum(vector: bytes, sentences: bytes | None) -> int:
    return zlib.crc32(sentences or b"", zlib.crc32(vector))
