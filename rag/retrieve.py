"""From a question to hits: both indexes searched, scores fused, the best looked at closer, their passages fetched."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rag.closer import evened, meanings, sentence_cosines
from rag.diverse import diverse
from rag.fuse import Weights, fuse
from rag.knowledge.lift import lift
from rag.knowledge.walk import EntityGraph, walk
from rag.lexical import TextScores
from rag.phrases import phrase_shares, raised
from rag.ports import ChunkSource, Embedder, Filter, Reranker, SearchIndex, Vectors
from rag.reading import reading
from rag.turns import NoTurns, Turn
from rag.types import ChunkId, Hit, Passage

# So many of each side's best are candidates: with 100, some that both sides know count as known to one.
CANDIDATES = 300
# So many of the candidates have their sentences read, and of these the best are held against each other.
CLOSER = 50
NEIGHBOURHOOD = 30
# So many of the best are read by a reranker, where there is one.
RERANKED = 50
# From so many of the best the graph is walked, and so many of those that it reaches may be lifted.
ORIGINS = 10
REACHED = 64
LONGEST_TOKEN = 24

NO_TURNS = NoTurns()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What is wanted of a search; hits below `score_threshold` are left out.

    With `diversity`, in 0..1, each hit is chosen for its score and for how little it is like those before it. Without
    `rerank` a reranker is not asked.
    """

    max_results: int = 10
    filters: Filter | None = None
    score_threshold: float = 0.0
    weights: Weights = field(default_factory=Weights)
    diversity: float = 0.0
    rerank: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """A query that has words; `vector` is None where meaning is not searched, `reading` is how far it could be read."""

    text: str
    vector: Vectors | None = None
    reading: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    chunk_id: ChunkId
    score: float
    fused: float
    cosine: float | None
    sentence_cosine: float | None
    bm25: float | None
    phrases: float | None = None
    rerank: float | None = None
    graph_path: tuple[str, ...] = ()
    passage: Passage | None = None


def retrieve(
    query: str | Sequence[str],
    *,
    index: SearchIndex,
    source: ChunkSource,
    embedder: Embedder,
    options: SearchOptions | None = None,
    reranker: Reranker | None = None,
    graph: EntityGraph | None = None,
    turn: Turn = NO_TURNS,
) -> list[Hit]:
    """Give the best passages for a query, best first; for several queries, each passage by its best one.

    The index is synced first, so what the source holds is what is searched. Equal scores are
    ordered by chunk id. With a `graph` passages are found too that only what these name leads to. With a `reranker` the
    best RERANKED, or as many as are wanted, have its scores. `turn` is held while it searches and ranks, and let go
    while models compute (`rag.turns`).
    """
    options = options or SearchOptions()
    index.sync(source)
    turn.await_need()
    queries = _embedded(query, embedder, options.weights)
    with turn:
        ranked, asked = _searched(queries, index, source, graph, options)
    if reranker is not None and options.rerank:
        ranked = _reranked(ranked[: max(RERANKED, options.max_results)], asked, reranker, source)
    with turn:
        if options.diversity:
            ranked = _diverse(ranked, source, options)
        return list(islice(_hits(ranked, source, options), options.max_results))


def _embedded(query: str | Sequence[str], embedder: Embedder, weights: Weights) -> list[_Query]:
    given = [query] if isinstance(query, str) else query
    # JSON may carry half of a surrogate pair, which neither index could read.
    texts = [text for text in (one.encode("utf-8", "replace").decode() for one in given) if text.strip()]
    if not texts or not weights.embedding:
        return [_Query(text=text) for text in texts]
    fitting = [_fitting(text, embedder) for text in texts]
    # Before they are embedded: the tokenizer is then in the caches once for both.
    readings = [reading(text, embedder.tokenizer) for text in fitting]
    return [
        _Query(text=text, vector=vector, reading=read)
        for text, read, vector in zip(texts, readings, embedder.embed(fitting), strict=True)
    ]


def _searched(
    queries: Sequence[_Query],
    index: SearchIndex,
    source: ChunkSource,
    graph: EntityGraph | None,
    options: SearchOptions,
) -> tuple[list[_Candidate], dict[ChunkId, str]]:
    """Give what the queries found, best first, and which of them found each best."""
    within = None if options.filters is None else source.matching(options.filters)
    best: dict[ChunkId, _Candidate] = {}
    asked: dict[ChunkId, str] = {}
    for one in queries:
        candidates = _candidates(one, index, source, within, options)
        if graph is not None:
            candidates = _over_graph(one, candidates, graph, index, within, options)
        for candidate in candidates:
            known = best.get(candidate.chunk_id)
            if known is None or candidate.score > known.score:
                best[candidate.chunk_id], asked[candidate.chunk_id] = candidate, one.text
    return _in_order(best.values()), asked


def _fitting(text: str, embedder: Embedder) -> str:
    """Cut a query to what the embedder can read, without tokenising more than that."""
    if len(text) <= embedder.max_tokens:
        return text
    head = text[: embedder.max_tokens * LONGEST_TOKEN]
    spans = embedder.tokenizer.encode(head, add_special_tokens=False).offsets[: embedder.max_tokens]
    return head[: spans[-1][1]] if spans else ""


def _candidates(
    query: _Query,
    index: SearchIndex,
    source: ChunkSource,
    within: NDArray[np.int64] | None,
    options: SearchOptions,
) -> list[_Candidate]:
    """Give those that either side found, best first."""
    depth = max(CANDIDATES, 2 * options.max_results)
    words = index.search_text(query.text if options.weights.text else "", depth, within)
    if query.vector is None:
        fused = fuse({}, words, options.weights)
        return _ranked(fused, fused, {}, {}, words)
    cosines = index.search_vectors(query.vector, depth, within)
    # The vectors at hand tell how near a passage found by its words is; the reverse costs more than it brings.
    unseen = np.array(sorted(words.scores.keys() - cosines.keys()), dtype=np.int64)
    cosines |= index.search_vectors(query.vector, len(unseen), unseen)
    return _looked_at_closer(query, query.vector, cosines, words, source, options)


def _looked_at_closer(
    query: _Query,
    vector: Vectors,
    cosines: Mapping[ChunkId, float],
    words: TextScores,
    source: ChunkSource,
    options: SearchOptions,
) -> list[_Candidate]:
    """Rank the best anew, by their sentences, phrases and neighbours; the others are no candidates any more."""
    weights = options.weights.as_read(query.reading)
    vectors = source.vectors(_best(fuse(cosines, words, weights), max(CLOSER, 2 * options.max_results)))
    sentences = sentence_cosines(vector, vectors)
    near = meanings({one: cosines[one] for one in vectors if one in cosines}, sentences)
    found = TextScores({one: words.scores[one] for one in vectors if one in words.scores}, words.ceiling)
    fused = fuse(near, found, weights)
    ranked = _best(fused, len(fused))
    best, others = ranked[:NEIGHBOURHOOD], ranked[NEIGHBOURHOOD:]
    passages = source.passages(best) if weights.text else {}
    phrases = phrase_shares(query.text, {one: _as_read(passage) for one, passage in passages.items()})
    fused |= {one: raised(fused[one], share) for one, share in phrases.items()}
    moved = evened([fused[one] for one in best], [vectors[one] for one in best], query.reading)
    scores: dict[ChunkId, float] = dict(zip(best, moved.tolist(), strict=True))
    # Who has no neighbours to be held against does not pass those who have.
    least = min(scores.values(), default=0.0)
    scores |= {one: min(fused[one], least) for one in others}
    return _ranked(scores, fused, cosines, sentences, words, phrases, passages)


def _best(scores: Mapping[ChunkId, float], count: int) -> list[ChunkId]:
    """Give those of the highest scores, best first; of equals the lowest id."""
    ids = np.fromiter(scores, dtype=np.int64, count=len(scores))
    values = np.fromiter(scores.values(), dtype=np.float64, count=len(scores))
    best: list[ChunkId] = ids[np.lexsort((ids, -values))[:count]].tolist()
    return best


def _reranked(
    first: Sequence[_Candidate], asked: Mapping[ChunkId, str], reranker: Reranker, source: ChunkSource
) -> list[_Candidate]:
    """Order by what the reranker reads in each passage, under its headings, and in the query that found it."""
    passages = source.passages([one.chunk_id for one in first])
    there = [one for one in first if one.chunk_id in passages]
    scores = reranker.relevance([(asked[one.chunk_id], _as_read(passages[one.chunk_id])) for one in there])
    return _in_order(replace(one, score=score, rerank=score) for one, score in zip(there, scores, strict=True))


def _as_read(passage: Passage) -> str:
    return "\n".join((*passage.heading_path, passage.text))


def _over_graph(
    query: _Query,
    ranked: Sequence[_Candidate],
    graph: EntityGraph,
    index: SearchIndex,
    within: NDArray[np.int64] | None,
    options: SearchOptions,
) -> list[_Candidate]:
    """Lift what the graph leads to from the best; what is no candidate yet is one by what it has by itself."""
    reached = walk(query.text, graph, [one.chunk_id for one in ranked[:ORIGINS]])[:REACHED]
    known = {one.chunk_id: one for one in ranked}
    unseen = np.array(sorted({one.chunk_id for one in reached} - known.keys()), dtype=np.int64)
    unseen = unseen if within is None else np.intersect1d(unseen, within)
    words = index.search_text(query.text if options.weights.text else "", len(unseen), unseen)
    cosines = {} if query.vector is None else index.search_vectors(query.vector, len(unseen), unseen)
    fused = dict.fromkeys(map(ChunkId, unseen.tolist()), 0.0)
    fused |= fuse(cosines, words, options.weights.as_read(query.reading))
    known |= {one.chunk_id: one for one in _ranked(fused, fused, cosines, {}, words)}
    lifted = lift({one.chunk_id: one.score for one in known.values()}, reached)
    moved = {one.chunk_id: replace(known[one.chunk_id], score=one.score, graph_path=one.path) for one in lifted}
    return _in_order([*(one for one in ranked if one.chunk_id not in moved), *moved.values()])


def _diverse(ranked: Sequence[_Candidate], source: ChunkSource, options: SearchOptions) -> list[_Candidate]:
    """Choose among the best CLOSER, or twice as many as are wanted."""
    best = ranked[: max(CLOSER, 2 * options.max_results)]
    vectors = source.vectors([one.chunk_id for one in best])
    there = [one for one in best if one.chunk_id in vectors and one.score >= options.score_threshold]
    chunks = [vectors[one.chunk_id] for one in there]
    chosen = diverse([one.score for one in there], chunks, options.diversity, options.max_results)
    return [there[place] for place in chosen]


def _ranked(
    scores: Mapping[ChunkId, float],
    fused: Mapping[ChunkId, float],
    cosines: Mapping[ChunkId, float],
    sentences: Mapping[ChunkId, float],
    words: TextScores,
    phrases: Mapping[ChunkId, float] = MappingProxyType({}),
    passages: Mapping[ChunkId, Passage] = MappingProxyType({}),
) -> list[_Candidate]:
    return _in_order(
        _Candidate(
            chunk_id=one,
            score=score,
            fused=fused[one],
            cosine=cosines.get(one),
            sentence_cosine=sentences.get(one),
            bm25=words.scores.get(one),
            phrases=phrases.get(one),
            passage=passages.get(one),
        )
        for one, score in scores.items()
    )


def _in_order(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.chunk_id))


def _hits(ranked: Sequence[_Candidate], source: ChunkSource, options: SearchOptions) -> Iterator[Hit]:
    """Fetch passages down the ranking; one that has gone since it was indexed gives its place to the next."""
    rank = 0
    for start in range(0, len(ranked), options.max_results):
        batch = [one for one in ranked[start : start + options.max_results] if one.score >= options.score_threshold]
        unread = [candidate.chunk_id for candidate in batch if candidate.passage is None]
        passages = source.passages(unread) if unread else {}
        for candidate in batch:
            passage = candidate.passage or passages.get(candidate.chunk_id)
            if passage is not None:
                rank += 1
                yield _hit(candidate, passage, rank)


def _hit(candidate: _Candidate, passage: Passage, rank: int) -> Hit:
    return Hit(
        passage=passage,
        score=candidate.score,
        rank=rank,
        cosine=candidate.cosine,
        bm25=candidate.bm25,
        sentence_cosine=candidate.sentence_cosine,
        phrases=candidate.phrases,
        fused=candidate.fused,
        rerank=candidate.rerank,
        graph_path=candidate.graph_path,
    )
