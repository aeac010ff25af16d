import pytest
from pydantic import ValidationError

from rag.errors import InvalidFilter
from rag.fuse import Weights
from services.api.vector_stores.search import SearchVectorStore


def test_queries_are_given_as_they_came() -> None:
    assert SearchVectorStore(query="Please?").queries() == ["Please?"]
    assert SearchVectorStore(query=["a", "b"]).queries() == ["a", "b"]


def test_ranking_options_become_a_search() -> None:
    wanted = SearchVectorStore.model_validate(
        {
            "query": "a",
            "max_num_results": 3,
            "ranking_options": {
                "ranker": "none",
                "score_threshold": 0.5,
                "hybrid_search": {"embedding_weight": 1, "text_weight": 0},
                "diversity": 0.3,
            },
        }
    )
    options = wanted.options()

    assert (options.max_results, options.score_threshold) == (3, 0.5)
    assert options.weights == Weights(embedding=1.0, text=0.0)
    assert options.diversity == 0.3


def test_a_malformed_filter_is_refused() -> None:
    with pytest.raises(InvalidFilter, match=r"filters\.type must be one of"):
        SearchVectorStore(query="a", filters={"type": "like"}).options()


@pytest.mark.parametrize("query", ["", [], ["a", ""], 3, None, ["a"] * 33, "a\0b"])
def test_a_query_that_is_none_is_refused(query: object) -> None:
    with pytest.raises(ValidationError):
        SearchVectorStore(query=query)
