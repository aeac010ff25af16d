"""What `rag` needs from outside, as small Protocols; `services` supplies them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prompts.messages import Message
from rag.sentences import Span
from rag.types import ChunkId, Passage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from rag.lexical import TextScores

Vectors: TypeAlias = NDArray[np.float32]
VectorKey: TypeAlias = bytes
"""Under which a text's vector is kept, as `rag.ingest.vector_key` gives it."""


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """The model's public name, e.g. `all-MiniLM-L6-v2`."""

    @property
    def id(self) -> str:
        """Name and weights: two embedders with one id give interchangeable vectors."""

    @property
    def dimensions(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """Word pieces that one text may have, special tokens not counted."""

    @property
    def tokenizer(self) -> "Tokenizer":
        """The model's own tokenizer, without truncation or padding."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give `float32 [len(texts), dimensions]`, rows of length 1, in the order of `texts`."""

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """Give for each text `float32 [1 + spans, dimensions]`, rows of length 1: its vector and those of its spans.

        An embedder that cannot tell what a part of a text adds to it gives the text's own vector alone.
        """


class VectorCache(Protocol):
    """Which vectors are at hand already."""

    def known(self, keys: Sequence[VectorKey]) -> set[VectorKey]: ...


class Generator(Protocol):
    """Writes text from messages, where a step of the answer needs a model."""

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        """Give the model's reply. Raises GeneratorFailed."""


class Entailment(Protocol):
    """Judges whether one text says what another states, as models for natural language inference do."""

    def entails(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        """Give for each (text, statement) the probability that the text says so."""


class Reranker(Protocol):
    """Judges whether passages answer a query, reading both together."""

    @property
    def name(self) -> str:
        """The model's public name."""

    def relevance(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        """Give for each (query, passage) a probability, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One chunk as the indexes need it: `vectors` is `float32 [windows, dimensions]`."""

    chunk_id: ChunkId
    title: str
    heading_path: tuple[str, ...]
    text: str
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkVectors:
    """Of one chunk: `windows` float32 [w, d], at least one, and `sentences` float32 [s, d], perhaps none; unit rows."""

    windows: Vectors
    sentences: Vectors

    @property
    def middle(self) -> Vectors:
        """The mean of the windows, `float32 [d]`."""
        count = len(self.windows)
        middle: Vectors = self.windows[0] if count == 1 else np.add.reduce(self.windows, axis=0) / np.float32(count)
        return middle


class ChunkSource(Protocol):
    """The one truth that a store's indexes are derived from. Chunks never change, only come and go."""

    def revision(self) -> int:
        """A number that grows with every change to the store's searchable chunks."""

    def chunk_ids(self) -> NDArray[np.int64]:
        """The ids of all searchable chunks, ascending."""

    def rows(self, chunk_ids: NDArray[np.int64]) -> Iterator[IndexRow]:
        """The named chunks, ascending; those that have gone meanwhile are left out."""

    def passages(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Passage]:
        """The named chunks with their documents; those that have gone are left out."""

    def vectors(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, ChunkVectors]:
        """The vectors of the named chunks; those that have gone are left out."""

    def matching(self, filters: "Filter") -> NDArray[np.int64]:
        """The ids, ascending, of the searchable chunks whose document's attributes match."""


class SearchIndex(Protocol):
    """What a store is searched by, its vectors and its words, derived from one source. Any number of threads may ask.

    Call `sync` first: `within`, where it is given, are ids of chunks, ascending, and nothing else is found.
    """

    def sync(self, source: ChunkSource) -> None:
        """Bring it to what the source holds now; nearly free when nothing has changed."""

    def search_vectors(
        self, query: Vectors, limit: int, within: NDArray[np.int64] | None = None
    ) -> dict[ChunkId, float]:
        """Give the cosine of the nearest `limit` chunks, by the best of their windows, best first."""

    def search_text(self, query: str, limit: int, within: NDArray[np.int64] | None = None) -> "TextScores":
        """Give the BM25 of the best `limit` chunks, best first, and the query's ceiling."""

    def maintain(self) -> None:
        """Have made, beside the caller, what a large store needs to be searched fast."""

    def check(self) -> Iterator[str]:
        """Read all that is kept; give what of it is not what was written."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`attribute operator value`, the operator one of eq ne gt gte lt lte in nin."""

    operator: str
    attribute: str
    value: str | float | bool | tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """All (`and`) or any (`or`) of several filters."""

    operator: str
    filters: tuple["Filter", ...]


Filter: TypeAlias = Comparison | Compound
