"""The values that flow through retrieval and answering, in the order in which they arise.

    bytes -> Document -> Chunk -> vector -> Hit -> Grounding -> text -> Answer with Citations

Every offset is in Unicode code points of the canonical text (`Document.text`), end exclusive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType, TypeAlias

ChunkId = NewType("ChunkId", int)

AttributeValue: TypeAlias = str | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The part of the canonical text that one page holds; `number` counts from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading of the document; `level` counts from 1, `start` is where its line begins."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The canonical text of a file, with what is known of its structure.

    For text formats `text` is the file's own decoded characters; for the others what the parser
    gave. `pages` is empty where the format has none.
    """

    name: str
    media_type: str
    text: str
    title: str | None = None
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of the canonical text that fits the embedder, so that nothing is truncated.

    `columns` are the names of the columns of a table that it goes on with: they are embedded with it.
    """

    start: int
    end: int
    columns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage that is found and cited as one: `text == document.text[start:end]`, always.

    `heading_path` names the headings above it, outermost first, and last the columns of a table that it goes on with.
    `windows` cover it in order.
    """

    ordinal: int
    text: str
    start: int
    end: int
    tokens: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stored chunk with the document it came from: what search gives and answers quote.

    A source joined of several chunks names the best of them; `parts` are where each begins, in order, and which it is.
    """

    chunk_id: ChunkId
    file_id: str
    filename: str
    text: str
    start: int
    end: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    title: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    parts: tuple[tuple[int, ChunkId], ...] = ()

    @property
    def chunks(self) -> tuple[tuple[int, ChunkId], ...]:
        """Where each of its chunks begins in the canonical text, and which it is."""
        return self.parts or ((self.start, self.chunk_id),)

    def chunk_at(self, offset: int) -> ChunkId:
        """Give the chunk that holds an offset of the canonical text; of those that overlap there, the later one."""
        return next((chunk_id for start, chunk_id in reversed(self.chunks) if start <= offset), self.chunk_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage found for a query, with the reasons it was found.

    `score` is in 0..1, and `rank` counts from 1. `cosine` is that of its best window and `bm25` raw, None where that
    side did not see the passage; `sentence_cosine` is that of its best sentence, None where its sentences have no
    vectors. `phrases` is how much of the query's pairs of neighbouring words it has, 0..1, None where it was not read
    for them. `fused` is the score of these alone, before those of its neighbours had a part in it. `graph_path` is what
    the graph was walked over to it, entity, relation, entity and so on; empty where it was found without. `rerank` is
    what a reranker gave it, and then `score` too.
    """

    passage: Passage
    score: float
    rank: int
    cosine: float | None = None
    bm25: float | None = None
    sentence_cosine: float | None = None
    phrases: float | None = None
    fused: float | None = None
    rerank: float | None = None
    graph_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What an engine is given to answer from: the question on its own feet and its sources.

    `sources[i]` is cited as `[i + 1]`. `instructions` is the rendered prompt template, to be sent
    in the role `role` (`system`: before the conversation; `user`: in place of the last question).
    `queries` are what was searched for: the question, after its parts where it was decomposed.
    """

    question: str
    sources: tuple[Hit, ...]
    instructions: str
    role: str
    prompt: str
    queries: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A mark in the answer, tied to an exact quote of a source.

    `start_index`/`end_index` are the mark's span in the answer; `quote` equals the canonical
    text at `source_start:source_end`. `index` is the number in the mark, 1 first.
    """

    index: int
    start_index: int
    end_index: int
    quote: str
    source_start: int
    source_end: int
    chunk_id: ChunkId
    file_id: str
    filename: str
    score: float
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How far a statement, `answer[start:end]` with its marks, is borne out.

    `how` is what the score, 0 to 1, was found by: `quote`, `entailment`, `words and meaning` or `words`.
    """

    start: int
    end: int
    supported: bool
    score: float
    how: str
    cited: tuple[ChunkId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What leaves the house: text, verified citations, and whether the documents answered.

    `support` says of each statement how far it is borne out, where that was asked; `confidence` how likely the answer
    is right, 0 to 1, where its engine is calibrated.
    """

    text: str
    citations: tuple[Citation, ...]
    answered: bool
    confidence: float | None = None
    sources: tuple[Hit, ...] = ()
    support: tuple[Support, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
