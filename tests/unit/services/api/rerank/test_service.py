"""Reranking over fakes: an embedder that knows words, and a reranker that likes long texts."""

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer

from services.api.rerank.schemas import RerankRequest
from services.api.rerank.service import rerank
from services.errors import BadRequest, NotFound
from services.reranking import scored_by_cosine
from services.settings import Settings
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder


class LongestFirst:
    """A reranker to which a text is as relevant as it is long."""

    name = "longest"

    def __init__(self) -> None:
        self.tokenizer: Tokenizer = WordEmbedder().tokenizer

    def relevance(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [len(passage) / 1000 for _, passage in pairs]


@pytest.fixture
def services(settings: Settings) -> Services:
    services = open_services(settings.model_copy(update={"reranker": "acme/longest"}))
    services.embedder = WordEmbedder()
    services.__dict__["reranker"] = LongestFirst()
    return services


def ranked(services: Services, **asked: object) -> list[tuple[int, float]]:
    given = {"model": "longest", "query": "whale song", "documents": ["a", "abc", {"text": "ab", "id": "7"}]}
    results = rerank(services, "default", RerankRequest.model_validate(given | asked)).results
    return [(result.index, result.relevance_score) for result in results]


def test_documents_are_ordered_by_the_reranker(services: Services) -> None:
    assert ranked(services) == [(1, 0.003), (2, 0.002), (0, 0.001)]


def test_top_n_is_how_many_are_given(services: Services) -> None:
    assert ranked(services, top_n=1) == [(1, 0.003)]
    assert len(ranked(services, top_n=9)) == 3


def test_equal_documents_keep_their_order(services: Services) -> None:
    assert [index for index, _ in ranked(services, documents=["b", "a", "a"])] == [0, 1, 2]


def test_documents_come_back_as_they_were_when_asked_for(services: Services) -> None:
    asked = RerankRequest(model="longest", query="q", documents=["a", {"text": "ab", "id": "7"}], return_documents=True)
    answer = rerank(services, "default", asked)
    assert [one.document and one.document.model_dump() for one in answer.results] == [
        {"text": "ab", "id": "7"},
        {"text": "a"},
    ]


def test_only_so_many_tokens_of_a_document_are_read_and_counted(services: Services) -> None:
    asked = RerankRequest(model="longest", query="one two", documents=["aa bb cc", "dddd"], max_tokens_per_doc=2)
    answer = rerank(services, "default", asked)
    assert [result.relevance_score for result in answer.results] == [0.005, 0.004]
    assert answer.usage.total_tokens == 2 + 2 + 1


def test_an_embedder_ranks_by_its_cosine(services: Services) -> None:
    documents = ["steam engines", "whale song", "whale oil"]
    scores = dict(ranked(services, model="all-MiniLM-L6-v2", documents=documents))
    assert list(scores) == [1, 2, 0]
    assert (scores[1], scores[2], scores[0]) == (
        pytest.approx(1),
        pytest.approx(0.5, abs=1e-3),
        pytest.approx(0, abs=1e-3),
    )


@pytest.mark.parametrize("place", [0, 9, 14])
def test_a_long_document_is_as_near_as_its_best_window(place: int) -> None:
    words = ["soil"] * 16
    words[place : place + 2] = ["whale", "song"]
    embedder = WordEmbedder()
    scored = scored_by_cosine(embedder, "whale song", [" ".join(words), ""], 100)
    assert scored.scores[0] > 0.2 > abs(scored.scores[1])  # .1 all of it together
    assert max(len(text.split()) for text in embedder.seen) == embedder.max_tokens
    assert scored.tokens == 2 + 16


def test_model_that_does_not_rerank_is_refused_with_those_that_do(services: Services) -> None:
    with pytest.raises(BadRequest, match=r"'extractive' cannot rerank: 'longest' does"):
        ranked(services, model="extractive")


def test_unknown_model_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        ranked(services, model="rerank-v3.5")


def test_reranker_is_listed_and_cannot_chat(services: Services) -> None:
    assert services.router.model("default", "longest").kind == "reranker"
    with pytest.raises(BadRequest, match="reranks; it cannot chat"):
        services.router.resolve("default", "longest")


def test_empty_query_is_refused(services: Services) -> None:
    with pytest.raises(BadRequest, match="query is empty"):
        ranked(services, query=" ")
