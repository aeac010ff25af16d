"""Reranking documents that a request brings along."""

from collections.abc import Sequence

from services.api.rerank.schemas import ApiVersion, Document, Meta, Reranked, RerankRequest, Result, Tokens, Usage
from services.embedders import EMBEDDER, listed_embedder
from services.errors import BadRequest
from services.ids import RERANKING, new_id
from services.reranking import RERANKER, Scored, scored_by_cosine, scored_by_reranker
from services.wiring import Services


def rerank(services: Services, project_id: str, asked: RerankRequest) -> Reranked:
    """Give the documents' places and scores, best first. Raises NotFound, BadRequest, CrossEncoderUnavailable."""
    if not asked.query.strip():
        raise BadRequest("query is empty: it must have text.", param="query")
    scored = _scored(services, project_id, asked)
    best = sorted(range(len(scored.scores)), key=lambda place: (-scored.scores[place], place))[: asked.top_n]
    return Reranked(
        id=new_id(RERANKING),
        object="list",
        model=asked.model,
        results=[_result(asked, place, scored.scores) for place in best],
        usage=Usage(prompt_tokens=scored.tokens, total_tokens=scored.tokens),
        meta=Meta(api_version=ApiVersion(), tokens=Tokens(input_tokens=scored.tokens)),
    )


def _scored(services: Services, project_id: str, asked: RerankRequest) -> Scored:
    kind = services.router.model(project_id, asked.model).kind
    if kind == RERANKER and services.reranker is not None:
        return scored_by_reranker(services.reranker, asked.query, asked.texts(), asked.max_tokens_per_doc)
    if kind == EMBEDDER:
        embedder = listed_embedder(services, project_id, asked.model)
        return scored_by_cosine(embedder, asked.query, asked.texts(), asked.max_tokens_per_doc)
    known = services.settings.reranker_name
    raise BadRequest(
        f"The model {asked.model!r} cannot rerank: "
        + (f"{known!r} does, and embedders do." if known else "embedders do, and a reranker that LOAM_RERANKER names."),
        param="model",
    )


def _result(asked: RerankRequest, place: int, scores: Sequence[float]) -> Result:
    given = asked.documents[place]
    document = Document(text=given) if isinstance(given, str) else given
    return Result(index=place, relevance_score=scores[place], document=document if asked.return_documents else None)
