"""The embedder that runs an exported graph with OpenVINO: the query path, free of torch.

A graph folder, as `rag.encoders.embed_export` writes it, holds `graph.xml`, `graph.bin`, `tokenizer.json` and
`manifest.json`. The graph gives the texts' vectors `[b, d]`, and of a model that averages its tokens also these,
`[b, t, d]`. Letters of shapes: b texts of a batch, t tokens of its longest text, d dimensions, s spans of a text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rag.encoders.graph import Graph, Ids
from rag.encoders.graph_folder import read_manifest, write_manifest
from rag.ports import Vectors
from rag.sentences import Span

if TYPE_CHECKING:
    from tokenizers import Encoding

TEXTS_AT_ONCE = 256
"""Texts tokenised in one go; the tokenizer's own objects are a hundred times the ids that are kept of them."""

SAME_VECTOR = {"f32": 0.999, "bf16": 0.999, "int8": 0.97}
"""By precision: the cosine above which two vectors of a text are the same but for rounding.

bf16 gives .9999. int8 gives .998, and down to .978 for scripts that the model reads letter by letter.
"""

Offsets: TypeAlias = NDArray[np.int32]
"""Where each token begins and ends in its text, `int32 [t, 2]`; special tokens are empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a graph folder says of itself.

    `precision` is what it computes in: f32, bf16 or int8. Of the special tokens around each text, `tail_tokens` follow
    it. `probe_vector` is the original model's vector of `probe`; `sizes` are those of the folder's files, in bytes.
    """

    precision: str
    dimensions: int
    max_tokens: int
    special_tokens: int
    tail_tokens: int
    pad_id: int
    inputs: Sequence[str]
    probe: str
    probe_vector: Sequence[float]
    sizes: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises OSError or ValueError when a file is missing, cut short or not readable."""
        return cls(**read_manifest(folder))

    def write(self, folder: Path) -> None:
        write_manifest(folder, asdict(self))


class OpenVinoEmbedder:
    """Embeds on the CPU, from any number of threads at once; `Graph` says who waits for whom."""

    def __init__(self, folder: Path, *, name: str, id: str, threads: int | None = None) -> None:
        from tokenizers import Tokenizer

        self.name = name
        self.id = id
        self._manifest = Manifest.read(folder)
        self.precision = self._manifest.precision
        self.dimensions = self._manifest.dimensions
        self.max_tokens = self._manifest.max_tokens
        self._limit = self.max_tokens + self._manifest.special_tokens
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._graph = Graph(
            folder,
            precision=self.precision,
            inputs=self._manifest.inputs,
            pad_id=self._manifest.pad_id,
            limit=self._limit,
            threads=threads,
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give `float32 [len(texts), dimensions]`, rows of length 1, in the order of `texts`.

        What a text has beyond `max_tokens` is left out, as sentence-transformers does.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)

        def keep(rows: Sequence[int], outputs: Sequence[Vectors]) -> None:
            vectors[rows] = outputs[0]

        self._graph.run(
            [self._truncated(np.array(encoding.ids, dtype=np.int32)) for encoding in self._encoded(texts)], keep
        )
        return vectors

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """Give for each text `float32 [1 + s, d]`, rows of length 1: its own vector, then one for each of its spans.

        A span's vector is the mean of its tokens as the model read them in the whole text, so that all cost one pass
        ("late chunking", Günther et al., 2024, arXiv:2409.04701). A span of which nothing was read has the text's
        own vector. A model that does not average its tokens gives no spans' vectors: `[1, d]`.
        """
        ids, offsets = self._tokens_and_offsets(texts)
        vectors: dict[int, Vectors] = {}

        def keep(rows: Sequence[int], outputs: Sequence[Vectors]) -> None:
            for place, row in enumerate(rows):
                whole = outputs[0][place : place + 1].copy()
                tokens = outputs[1][place, : len(ids[row])] if len(outputs) > 1 else None
                vectors[row] = whole if tokens is None else with_spans(whole, tokens, offsets[row], spans[row])

        self._graph.run(ids, keep)
        return [vectors[row] for row in range(len(texts))]

    def verify(self) -> None:
        """Raises ValueError when the graph does not give the vector that the original model gave of the probe."""
        cosine = float(self.embed([self._manifest.probe])[0] @ np.array(self._manifest.probe_vector))
        floor = SAME_VECTOR[self.precision]
        if not cosine >= floor:
            raise ValueError(f"the probe's vector has cosine {cosine:.6f} with the original's, not {floor}")

    def _encoded(self, texts: Sequence[str]) -> Iterator["Encoding"]:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            yield from self.tokenizer.encode_batch_fast(list(texts[start : start + TEXTS_AT_ONCE]))

    def _tokens_and_offsets(self, texts: Sequence[str]) -> tuple[list[Ids], list[Offsets]]:
        ids, offsets = [], []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            for encoding in self.tokenizer.encode_batch(list(texts[start : start + TEXTS_AT_ONCE])):
                ids.append(self._truncated(np.array(encoding.ids, dtype=np.int32)))
                offsets.append(self._truncated(np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)))
        return ids, offsets

    def _truncated(self, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Cut the text, not the special tokens around it. (The tokenizer is shared, so it may not truncate itself.)"""
        if len(tokens) <= self._limit:
            return tokens
        tail = self._manifest.tail_tokens
        return np.concatenate([tokens[: self._limit - tail], tokens[len(tokens) - tail :]])


def with_spans(whole: Vectors, tokens: Vectors, offsets: Offsets, spans: Sequence[Span]) -> Vectors:
    """A text's own vector `[1, d]`, and below it the means of its tokens `[t, d]` in each span, of length 1."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    # A token is in the span that its first character is in; special tokens are in none.
    read = np.flatnonzero(ends > starts)
    places = np.searchsorted(starts[read], [(span.start, span.end) for span in spans])
    # Added up and not multiplied: a BLAS starts threads for a product, which go on spinning beside those of the graph.
    sums = np.zeros((len(spans), tokens.shape[1]), dtype=np.float32)
    for row, (first, last) in enumerate(places):
        tokens[read[first:last]].sum(axis=0, out=sums[row])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.concatenate([whole, np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), whole)])
