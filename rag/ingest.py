"""The spine of ingestion: file bytes -> Document -> Chunks -> vectors, many files at a time.

Files are read and cut one by one and embedded in groups, since the embedder is quickest over many
windows at once, and in a thread of its own: meanwhile the next are read and what is done is stored.
A file that cannot be read is given back as Rejected and the others go on. Nothing is stored here:
each Ingested is whole, for the caller to put away in one transaction.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from rag.chunk import AUTO, ChunkingStrategy, chunk
from rag.embed_ahead import AheadEmbedder, Checkpoint, Group
from rag.errors import InvalidFile, RagError
from rag.knowledge.types import ChunkGraph
from rag.ports import Embedder, VectorCache, VectorKey, Vectors
from rag.table import with_columns
from rag.types import Chunk, Document

# The first group is small, that the embedder need not wait for it, and each next one twice as large.
FIRST_GROUP_TOKENS = 2_048
GROUP_TOKENS = 32_768

Parse: TypeAlias = Callable[[bytes, str], Document]
Ref = TypeVar("Ref")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[Ref]):
    """A file to ingest; `ref` is the caller's own name for it, `read` gives its bytes when its turn comes."""

    ref: Ref
    filename: str
    read: Callable[[], bytes]
    strategy: ChunkingStrategy = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Generic[Ref]):
    """A document that was read before, to be cut and embedded again; `ref` is the caller's own name for it."""

    ref: Ref
    document: Document
    strategy: ChunkingStrategy = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested(Generic[Ref]):
    """A file ready to be stored: `keys[i][j]` names the vector of window j of chunk i.

    `vectors` holds those that were not known, `float32 [1 + sentences, dimensions]` each: the window's own, then those
    of its sentences. `graphs` are what the chunks name, one each, where the caller has had them drawn.
    """

    ref: Ref
    document: Document
    chunks: tuple[Chunk, ...]
    keys: tuple[tuple[VectorKey, ...], ...]
    vectors: Mapping[VectorKey, Vectors]
    graphs: tuple[ChunkGraph, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Generic[Ref]):
    """A file that cannot be ingested, and why."""

    ref: Ref
    error: RagError


Outcome: TypeAlias = Ingested[Ref] | Rejected[Ref]


def ingest(
    sources: Iterable[Source[Ref]],
    *,
    parse: Parse,
    embedder: Embedder,
    cache: VectorCache,
    checkpoint: Checkpoint = lambda: None,
) -> Iterator[list[Outcome[Ref]]]:
    """Give the sources' outcomes, in order, group by group; a group is to be stored before the next is asked for.

    `checkpoint` is called every now and then while vectors are made, in another thread; what it raises ends the
    ingestion.
    """
    yield from _embedded((_read(source, parse, embedder) for source in sources), embedder, cache, checkpoint)


def reindex(
    kept: Iterable[Kept[Ref]],
    *,
    embedder: Embedder,
    cache: VectorCache,
    checkpoint: Checkpoint = lambda: None,
) -> Iterator[list[Outcome[Ref]]]:
    """Do the same from the documents on: no file is read again."""
    yield from _embedded((_cut(one, embedder) for one in kept), embedder, cache, checkpoint)


def _embedded(
    items: Iterable["_Prepared[Ref] | Rejected[Ref]"], embedder: Embedder, cache: VectorCache, checkpoint: Checkpoint
) -> Iterator[list[Outcome[Ref]]]:
    """Give a group's outcomes when the next one is prepared and waits to be embedded."""
    ahead = AheadEmbedder(embedder, cache, checkpoint)
    begun: deque[_Begun[Ref]] = deque()
    try:
        for group in _groups(items):
            texts = {key: text for item in group if isinstance(item, _Prepared) for key, text in item.texts.items()}
            begun.append(_Begun(items=group, vectors=ahead.start(texts)))
            if len(begun) > 1:
                yield begun.popleft().outcomes()
        for last in begun:
            yield last.outcomes()
    finally:
        ahead.close()


def vector_key(embedder_id: str, text: str) -> VectorKey:
    """Give the name under which a text's vector is kept: the same text is never embedded twice."""
    return hashlib.sha256(f"{embedder_id}\0{text}".encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared(Generic[Ref]):
    ref: Ref
    document: Document
    chunks: tuple[Chunk, ...]
    keys: tuple[tuple[VectorKey, ...], ...]
    texts: Mapping[VectorKey, str]

    @property
    def tokens(self) -> int:
        return sum(chunk.tokens for chunk in self.chunks)

    def ingested(self, vectors: Mapping[VectorKey, Vectors]) -> Ingested[Ref]:
        mine = {key: vectors[key] for key in self.texts if key in vectors}
        return Ingested(ref=self.ref, document=self.document, chunks=self.chunks, keys=self.keys, vectors=mine)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun(Generic[Ref]):
    """A group that is being embedded."""

    items: Sequence[_Prepared[Ref] | Rejected[Ref]]
    vectors: Group

    def outcomes(self) -> list[Outcome[Ref]]:
        vectors = self.vectors.result()
        return [item if isinstance(item, Rejected) else item.ingested(vectors) for item in self.items]


def _read(source: Source[Ref], parse: Parse, embedder: Embedder) -> _Prepared[Ref] | Rejected[Ref]:
    try:
        document = parse(source.read(), source.filename)
    except RagError as exc:
        return Rejected(ref=source.ref, error=exc)
    except OSError as exc:
        return Rejected(ref=source.ref, error=InvalidFile(f"{source.filename!r} cannot be read: {exc.strerror}."))
    return _cut(Kept(ref=source.ref, document=document, strategy=source.strategy), embedder)


def _cut(kept: Kept[Ref], embedder: Embedder) -> _Prepared[Ref] | Rejected[Ref]:
    document = kept.document
    try:
        chunks = tuple(chunk(document, embedder.tokenizer, kept.strategy, max_window_tokens=embedder.max_tokens))
    except RagError as exc:
        return Rejected(ref=kept.ref, error=exc)
    texts: dict[VectorKey, str] = {}
    keys = []
    for piece in chunks:
        windows = [with_columns(one.columns, document.text[one.start : one.end]) for one in piece.windows]
        keys.append(tuple(vector_key(embedder.id, text) for text in windows))
        texts.update(zip(keys[-1], windows, strict=True))
    return _Prepared(ref=kept.ref, document=document, chunks=chunks, keys=tuple(keys), texts=texts)


def _groups(
    items: Iterable[_Prepared[Ref] | Rejected[Ref]],
) -> Iterator[list[_Prepared[Ref] | Rejected[Ref]]]:
    group: list[_Prepared[Ref] | Rejected[Ref]] = []
    tokens, wanted = 0, FIRST_GROUP_TOKENS
    for item in items:
        group.append(item)
        tokens += item.tokens if isinstance(item, _Prepared) else 0
        if tokens >= min(wanted, GROUP_TOKENS):
            yield group
            group, tokens, wanted = [], 0, 2 * wanted
    if group:
        yield group
