"""A configured reranker: `/v1/rerank` by Cohere's own SDK and over plain HTTP, searches that it orders, refusals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest

from rag.encoders.cross_encode import open_cross_encoder
from rag.encoders.cross_rerank import CrossReranker
from rag.encoders.embed import open_embedder
from tests.acceptance.handbook import QUESTION, make_handbook
from tests.acceptance.serving import Server, serving
from tests.acceptance.shell import Shell
from tests.fakes.exporting import exporting_here
from tests.fakes.tiny_cross_encoder import save_tiny_cross_encoder
from tests.fakes.tiny_encoder import save_tiny_encoder

pytestmark = pytest.mark.acceptance

DOCUMENTS = ["a bad cab", "dead", "abode of a crab", "a"]
ASKED = {"model": "tiny-ranker", "query": "a cab", "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reranker and an embedder of random weights, beside the cache with their graphs."""
    folder = tmp_path_factory.mktemp("models")
    ranker = save_tiny_cross_encoder(folder / "tiny-ranker")
    encoder = save_tiny_encoder(folder / "tiny")
    with exporting_here():
        open_cross_encoder(str(ranker), cache_dir=folder / "cache")
        open_embedder(str(encoder), cache_dir=folder / "cache")
    return folder


@pytest.fixture(scope="module")
def reranking(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {name: str(models / folder) for name, folder in NAMED.items()}
    with serving(tmp_path_factory.mktemp("reranking") / "home", **settings) as server:
        yield server


NAMED = {"reranker": "tiny-ranker", "embedder": "tiny", "cache_dir": "cache"}


@pytest.fixture(scope="module")
def expected(models: Path) -> list[float]:
    reranker = CrossReranker(open_cross_encoder(str(models / "tiny-ranker"), cache_dir=models / "cache"))
    return reranker.relevance([("a cab", document) for document in DOCUMENTS])


def post(server: Server, **changed: Any) -> httpx.Response:
    return httpx.post(f"{server.base_url}/rerank", json={**ASKED, **changed}, timeout=60)


def test_cohere_s_client_gets_documents_by_relevance(reranking: Server, expected: list[float]) -> None:
    with cohere.ClientV2(api_key="none", base_url=reranking.url) as client:
        answer = client.rerank(model="tiny-ranker", query="a cab", documents=DOCUMENTS)

    order = sorted(range(len(expected)), key=lambda place: -expected[place])
    assert [result.index for result in answer.results] == order
    assert [result.relevance_score for result in answer.results] == pytest.approx(
        [expected[place] for place in order], abs=0.02
    )
    assert answer.id and answer.meta and answer.meta.tokens and answer.meta.tokens.input_tokens


def test_cohere_s_first_api_gets_documents_back(reranking: Server, expected: list[float]) -> None:
    documents = [{"text": text} for text in DOCUMENTS]
    with cohere.Client(api_key="none", base_url=reranking.url) as client:
        answer = client.rerank(model="tiny-ranker", query="a cab", documents=documents, top_n=1, return_documents=True)

    [result] = answer.results
    assert result.index == expected.index(max(expected))
    assert result.document and result.document.text == DOCUMENTS[result.index]


def test_usage_is_counted_and_documents_are_left_out_unless_asked_for(reranking: Server) -> None:
    answer = post(reranking, documents=["a b", {"text": "c"}]).json()

    assert (answer["object"], answer["model"], answer["usage"]["total_tokens"]) == ("list", "tiny-ranker", 4 + 2 + 1)
    assert [result.keys() for result in answer["results"]] == [{"index", "relevance_score"}] * 2


def test_an_embedder_reranks_under_its_own_name(reranking: Server) -> None:
    answer = post(reranking, model="tiny", documents=["dead", "a cab"]).json()

    assert answer["results"][0] == {"index": 1, "relevance_score": pytest.approx(1, abs=0.02)}


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": " "}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 1001}, "documents"),
        ({"documents": ["a", 7]}, "documents[1]"),
        ({"documents": [{"title": "a"}]}, "documents[0].text"),
        ({"top_n": 0}, "top_n"),
        ({"rank_fields": ["title"]}, "rank_fields"),
        ({"model": "extractive"}, "model"),
    ],
)
def test_bad_input_is_refused_by_name(reranking: Server, changed: dict[str, Any], param: str) -> None:
    refused = post(reranking, **changed)

    assert refused.status_code == 400
    assert (refused.json()["error"]["param"], refused.json()["error"]["type"]) == (param, "invalid_request_error")


def test_unknown_model_is_not_found(reranking: Server) -> None:
    refused = post(reranking, model="rerank-v3.5")

    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_reranker_is_listed(reranking: Server) -> None:
    with reranking.client() as client:
        assert client.models.retrieve("tiny-ranker").to_dict()["kind"] == "reranker"


def test_searches_are_ordered_by_the_reranker_unless_told_not_to(reranking: Server) -> None:
    with reranking.client() as client:
        store = make_handbook(client)
        hits = [hit.to_dict() for hit in client.vector_stores.search(store, query=QUESTION)]
        plain = client.vector_stores.search(store, query=QUESTION, ranking_options={"ranker": "none"})

    assert len(hits) > 1
    assert [hit["rerank"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert {hit.to_dict()["rerank"] for hit in plain} == {None}


@pytest.mark.parametrize("setting", ["RERANKER", "ENTAILMENT"])
def test_a_model_that_cannot_be_loaded_is_told_at_the_start_and_by_doctor(
    models: Path, tmp_path: Path, setting: str
) -> None:
    shell = Shell(tmp_path / "home")
    kept = {"LOAM_EMBEDDER": str(models / "tiny"), "LOAM_CACHE_DIR": str(models / "cache")}
    wrong = {**kept, f"LOAM_{setting}": str(models / "tiny")}
    said = shell.run("serve", "--port", 0, code=1, **wrong).stderr
    assert f"LOAM_{setting}: The directory" in said and "holds no cross-encoder" in said

    findings = json.loads(shell.run("doctor", "--json", code=1, **wrong).stdout)["findings"]
    [finding] = [one for one in findings if one["name"] == setting.lower()]
    assert finding["state"] == "failed" and "holds no cross-encoder" in finding["detail"]
