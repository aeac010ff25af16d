"""`POST /v1/vector_stores/{id}/search`: its wire, and how it becomes a search."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from openai.types import VectorStoreSearchResponse
from openai.types.vector_store_search_response import Content
from pydantic import BaseModel, Discriminator, Field, Tag

from rag.filters import parse_filter
from rag.fuse import Weights
from rag.retrieve import SearchOptions
from rag.types import Hit
from services.api.wire import LIST, TEXT, Text, WireRequest, text_or_list
from services.ids import CHUNK

MAX_QUERIES = 32

# Only their ratio counts; the bound keeps their sum a number.
Weight: TypeAlias = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class HybridWeights(WireRequest):
    embedding_weight: Weight
    text_weight: Weight


class RankingOptions(WireRequest):
    """With the `ranker` none, the reranker of the settings is not asked; the others mean it, where there is one.

    `diversity` puts passages that differ before more of the same; 0 is by score alone.
    """

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    hybrid_search: HybridWeights | None = None
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0

    def search_options(self, *, max_results: int, filters: object, place: str = "filters") -> SearchOptions:
        """Give these options with the rest of a search's. Raises InvalidFilter naming `place`, InvalidRanking."""
        hybrid = self.hybrid_search
        return SearchOptions(
            max_results=max_results,
            filters=None if filters is None else parse_filter(filters, place=place),
            score_threshold=self.score_threshold,
            weights=Weights(embedding=hybrid.embedding_weight, text=hybrid.text_weight) if hybrid else Weights(),
            diversity=self.diversity,
            rerank=self.ranker != "none",
        )


Query: TypeAlias = Annotated[Text, Field(min_length=1)]
Queries: TypeAlias = Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)]


class SearchVectorStore(WireRequest):
    query: Annotated[Annotated[Query, Tag(TEXT)] | Annotated[Queries, Tag(LIST)], Discriminator(text_or_list)]
    filters: Any = None
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False

    def queries(self) -> list[str]:
        """Give the queries as they came."""
        return [self.query] if isinstance(self.query, str) else self.query

    def options(self) -> SearchOptions:
        """Raises InvalidFilter, InvalidRanking."""
        ranking = self.ranking_options or RankingOptions()
        return ranking.search_options(max_results=self.max_num_results, filters=self.filters)


class SearchResult(VectorStoreSearchResponse):
    """A hit, with where it stands in its file and what its score is made of.

    `cosine` and `bm25` are raw, null where that side did not see it; `sentence_cosine` is that of its best sentence;
    `phrases` is how much of the query's pairs of neighbouring words it has, 0 to 1, null below the best thirty; `fused`
    is what these give together, before its neighbours had a part in `score`; `rerank` is what the reranker gave it, and
    then `score` too. `graph_path` is what the store's graph was walked over to it (entity, relation, entity, …; a
    relation walked backwards begins with `← `), else null. A piece of a table that began before it has the names of its
    columns last in its `heading_path`.
    """

    chunk_id: str
    page: int | None
    heading_path: list[str]
    source_start: int
    source_end: int
    cosine: float | None
    sentence_cosine: float | None
    bm25: float | None
    phrases: float | None
    fused: float | None
    rerank: float | None
    graph_path: list[str] | None
    rank: int


class SearchPage(BaseModel):
    """All hits: there is never a next page."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[SearchResult]
    has_more: bool
    next_page: str | None


def search_page(queries: Sequence[str], hits: Sequence[Hit]) -> SearchPage:
    return SearchPage(
        object="vector_store.search_results.page",
        search_query=list(queries),
        data=[_result(hit) for hit in hits],
        has_more=False,
        next_page=None,
    )


def _result(hit: Hit) -> SearchResult:
    passage = hit.passage
    return SearchResult(
        file_id=passage.file_id,
        filename=passage.filename,
        score=hit.score,
        attributes=dict(passage.attributes),
        content=[Content(type="text", text=passage.text)],
        chunk_id=f"{CHUNK}{passage.chunk_id}",
        page=passage.page,
        heading_path=list(passage.heading_path),
        source_start=passage.start,
        source_end=passage.end,
        cosine=hit.cosine,
        sentence_cosine=hit.sentence_cosine,
        bm25=hit.bm25,
        phrases=hit.phrases,
        fused=hit.fused,
        rerank=hit.rerank,
        graph_path=list(hit.graph_path) or None,
        rank=hit.rank,
    )
