from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from rag.fuse import Weights
from rag.index import StoreIndex
from rag.ports import Comparison, Reranker
from rag.retrieve import SearchOptions, retrieve
from rag.turns import NoTurns
from rag.types import ChunkId, Hit, Passage
from tests.fakes.chunk_source import MemorySource
from tests.fakes.embedder import WordEmbedder
from tests.fakes.entity_graph import MemoryGraph

TEXTS = {
    1: ("green apples grow on trees", "en"),
    2: ("blue whales swim in the sea", "en"),
    3: ("whales sing long songs at night", "de"),
    4: ("steam engines burn coal", "en"),
}


class Searching:
    def __init__(self, folder: Path) -> None:
        self.embedder, self.source = WordEmbedder(), MemorySource()
        for chunk_id, (text, language) in TEXTS.items():
            self.source.add(chunk_id, text, self.embedder.embed([text]), attributes={"lang": language})
        self.index = StoreIndex(folder, embedder_id=self.embedder.id, dimensions=self.embedder.dimensions)

    def __call__(
        self,
        query: str | Sequence[str],
        options: SearchOptions | None = None,
        reranker: Reranker | None = None,
        graph: MemoryGraph | None = None,
    ) -> list[Hit]:
        return retrieve(
            query,
            index=self.index,
            source=self.source,
            embedder=self.embedder,
            options=options,
            reranker=reranker,
            graph=graph,
        )


class Inverting:
    """A reranker that likes what shares no word with the query."""

    name = "inverting"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def relevance(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        self.asked.extend(pairs)
        return [1 / (1 + len(set(query.split()) & set(text.split()))) for query, text in pairs]


@pytest.fixture
def search(tmp_path: Path) -> Searching:
    return Searching(tmp_path)


def ids(hits: Sequence[Hit]) -> list[int]:
    return [hit.passage.chunk_id for hit in hits]


def test_the_best_passage_comes_first_with_its_reasons(search: Searching) -> None:
    hit = search("blue whales")[0]
    assert (hit.passage.text, hit.rank) == ("blue whales swim in the sea", 1)
    assert hit.cosine == pytest.approx(0.577, abs=1e-3)
    assert hit.bm25 is not None and hit.bm25 > 0
    assert 0 < hit.score <= 1


def test_ranks_count_from_one_and_scores_fall(search: Searching) -> None:
    hits = search("whales sing")
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_equal_scores_are_ordered_by_chunk_id(search: Searching) -> None:
    for chunk_id in (12, 11, 10):
        search.source.add(chunk_id, "copper pipe", search.embedder.embed(["copper pipe"]))
    assert ids(search("copper pipe"))[:3] == [10, 11, 12]


def test_a_passage_that_shares_no_word_has_no_bm25(search: Searching) -> None:
    assert {hit.passage.chunk_id for hit in search("coal") if hit.bm25 is None} == {1, 2, 3}


def test_filters_decide_what_can_be_found(search: Searching) -> None:
    options = SearchOptions(filters=Comparison("eq", "lang", "de"))
    assert ids(search("blue whales", options)) == [3]


def test_the_threshold_leaves_out_weak_hits(search: Searching) -> None:
    assert ids(search("green apples grow on trees", SearchOptions(score_threshold=0.5))) == [1]


def test_no_more_than_max_results_are_given(search: Searching) -> None:
    assert len(search("whales", SearchOptions(max_results=2))) == 2


def test_a_text_weight_of_zero_ranks_by_meaning_alone(search: Searching) -> None:
    hit = search("coal", SearchOptions(weights=Weights(embedding=1, text=0)))[0]
    assert (hit.passage.chunk_id, hit.bm25) == (4, None)
    assert hit.score == pytest.approx(hit.cosine)


def test_words_decide_where_the_embedder_cannot_read_the_query(search: Searching) -> None:
    search.source.add(5, "море поёт", search.embedder.embed(["blue whales"]))
    search.source.add(6, "blue whales", search.embedder.embed(["море шумит"]))
    assert ids(search("море шумит"))[0] == 6
    letters = {letter: number for number, letter in enumerate("мореушит")}
    search.embedder.tokenizer = Tokenizer(BPE(letters, []))
    assert ids(search("море шумит"))[0] == 5


def test_an_embedding_weight_of_zero_embeds_nothing(search: Searching) -> None:
    search.embedder.seen.clear()
    hits = search("coal", SearchOptions(weights=Weights(embedding=0, text=1)))
    assert (ids(hits), hits[0].cosine, search.embedder.seen) == ([4], None, [])


def test_several_queries_give_each_passage_once_by_its_best(search: Searching) -> None:
    hits = search(["green apples grow on trees", "steam engines burn coal"])
    assert set(ids(hits)[:2]) == {1, 4}
    assert sorted(ids(hits)) == [1, 2, 3, 4]
    assert hits[0].score == max(search(TEXTS[1][0])[0].score, search(TEXTS[4][0])[0].score)


@pytest.mark.parametrize("query", ["", " \n", [], ["", " "]])
def test_a_blank_query_finds_nothing(search: Searching, query: str | list[str]) -> None:
    assert search(query) == []


@pytest.mark.parametrize("query", ["coal \0", "coal \ud800", 'coal" AND NOT (', "coal " + "x" * 100_000])
def test_odd_characters_do_no_harm(search: Searching, query: str) -> None:
    assert ids(search(query))[0] == 4


def test_a_long_query_is_cut_to_what_the_embedder_reads(search: Searching) -> None:
    search.embedder.seen.clear()
    search("a b c d e f g h i j k l m")
    assert search.embedder.seen == ["a b c d e f g h"]


def test_a_passage_that_has_gone_meanwhile_gives_its_place_to_the_next(search: Searching) -> None:
    everything = ids(search("whales"))

    class Forgetful(MemorySource):
        def passages(self, chunk_ids: Sequence[ChunkId]) -> Mapping[ChunkId, Passage]:
            return {id_: passage for id_, passage in super().passages(chunk_ids).items() if id_ != everything[0]}

    search.source = Forgetful(
        chunks=search.source.chunks, sentences=search.source.sentences, changes=search.source.changes
    )
    hits = search("whales", SearchOptions(max_results=2))
    assert (ids(hits), [hit.rank for hit in hits]) == (everything[1:3], [1, 2])


def test_a_reranker_orders_the_hits_and_says_so(search: Searching) -> None:
    plain, hits = search("whales sing"), search("whales sing", reranker=Inverting())
    assert (ids(plain)[0], ids(hits)) == (3, [1, 4, 2, 3])
    assert [(hit.score, hit.rerank, hit.rank) for hit in hits][-2:] == [(1 / 2, 1 / 2, 3), (1 / 3, 1 / 3, 4)]
    fused = {hit.passage.chunk_id: (hit.fused, hit.cosine, hit.bm25) for hit in plain}
    assert {hit.passage.chunk_id: (hit.fused, hit.cosine, hit.bm25) for hit in hits} == fused


class Held(NoTurns):
    """A turn that knows whether it is held."""

    held = False

    def __enter__(self) -> None:
        self.held = True

    def __exit__(self, *raised: object) -> None:
        self.held = False


def test_only_models_compute_outside_the_turn(search: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, reranker = Held(), Inverting()
    held: dict[str, bool] = {}

    def watch(part: object, name: str) -> None:
        plain = getattr(part, name)

        def noted(*given: Any) -> Any:
            held[name] = turn.held
            return plain(*given)

        monkeypatch.setattr(part, name, noted)

    watch(search.embedder, "embed")
    watch(search.index, "search_text")
    watch(search.index, "search_vectors")
    watch(reranker, "relevance")
    watch(search.source, "vectors")
    retrieve("whales", index=search.index, source=search.source, embedder=search.embedder, reranker=reranker, turn=turn)
    inside = {"search_text": True, "search_vectors": True, "vectors": True}
    assert held == inside | {"embed": False, "relevance": False}


def test_of_two_passages_with_the_same_words_the_one_that_has_them_as_asked_stands_higher(search: Searching) -> None:
    for chunk_id, text in ((20, "a pump for warm heat"), (21, "a heat pump for warm")):
        search.source.add(chunk_id, text, search.embedder.embed([text]))
    asked, other = search("heat pump")[:2]
    assert (asked.passage.chunk_id, other.passage.chunk_id) == (21, 20)
    assert (asked.cosine, asked.bm25) == (other.cosine, other.bm25)
    assert asked.phrases is not None and asked.phrases > 0 == other.phrases


def test_where_words_are_not_searched_phrases_are_not_either(search: Searching) -> None:
    hits = search("blue whales", SearchOptions(weights=Weights(embedding=1, text=0)))
    assert {hit.phrases for hit in hits} == {None}


def test_without_a_reranker_no_hit_has_its_score(search: Searching) -> None:
    assert {hit.rerank for hit in search("whales sing")} == {None}


def test_a_search_can_leave_the_reranker_out(search: Searching) -> None:
    reranker = Inverting()
    assert search("whales sing", SearchOptions(rerank=False), reranker) == search("whales sing")
    assert reranker.asked == []


def test_the_threshold_is_on_the_score_of_the_reranker(search: Searching) -> None:
    assert ids(search("whales sing", SearchOptions(score_threshold=0.9), Inverting())) == [1, 4]


def test_a_reranker_reads_headings_and_the_query_that_found_the_passage(search: Searching) -> None:
    reranker = Inverting()
    search.source.add(5, "they dive", search.embedder.embed(["they dive"]), heading_path=("Sea", "Whales"))
    search(["whales dive", "burn coal"], reranker=reranker)
    assert ("whales dive", "Sea\nWhales\nthey dive") in reranker.asked
    assert ("burn coal", "steam engines burn coal") in reranker.asked


def test_only_the_best_are_read_by_a_reranker(search: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.retrieve.RERANKED", 2)
    reranker = Inverting()
    hits = search("whales sing", SearchOptions(max_results=1), reranker)
    assert [text for _, text in reranker.asked] == [TEXTS[3][0], TEXTS[2][0]]
    assert ids(hits) == [2]


def test_with_diversity_something_else_comes_before_more_of_the_same(search: Searching) -> None:
    search.source.add(5, "blue whales swim in the sea again", search.embedder.embed(["blue whales swim in the sea"]))
    assert set(ids(search("blue whales swim", SearchOptions(max_results=2)))) == {2, 5}
    hits = search("blue whales swim", SearchOptions(max_results=2, diversity=0.5))
    assert ids(hits)[1] == 3
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score > hits[1].score


def test_diversity_brings_nothing_in_that_the_threshold_leaves_out(search: Searching) -> None:
    options = SearchOptions(score_threshold=0.5, diversity=0.9)
    assert ids(search("green apples grow on trees", options)) == [1]


FOUNDED, CHILDHOOD = "Acme Corp was founded by Jane Roe", "rivers and boats filled the childhood of Jane Roe"


@pytest.fixture
def graph(search: Searching) -> MemoryGraph:
    """A store in which others crowd out what the question does not name."""
    graph = MemoryGraph()
    for number in range(20, 40):
        search.source.add(number, f"who was raised at {number}", search.embedder.embed(["who was raised at"]))
    for number, text in ((50, FOUNDED), (51, CHILDHOOD)):
        search.source.add(number, text, search.embedder.embed([text]), attributes={"lang": "en"})
        graph.add(number, text)
    return graph


QUESTION = "who was the founder of Acme Corp"


def test_the_graph_finds_what_the_question_shares_no_word_with(search: Searching, graph: MemoryGraph) -> None:
    assert 51 not in ids(search(QUESTION))
    hits = search(QUESTION, graph=graph)
    [found] = [hit for hit in hits if hit.passage.chunk_id == 51]
    assert (found.rank, found.graph_path) == (3, ("Acme Corp", "was founded by", "Jane Roe"))
    assert [hit.rank for hit in hits] == list(range(1, 11))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_graph_that_leads_nowhere_changes_nothing(search: Searching, graph: MemoryGraph) -> None:
    query = "whales sing in the sea"
    assert search(query, graph=graph) == search(query)
    assert search(QUESTION, graph=MemoryGraph()) == search(QUESTION)


def test_the_graph_leads_to_nothing_that_a_filter_leaves_out(search: Searching, graph: MemoryGraph) -> None:
    search.source.add(51, CHILDHOOD, search.embedder.embed([CHILDHOOD]), attributes={"lang": "de"})
    assert 51 not in ids(search(QUESTION, SearchOptions(filters=Comparison("eq", "lang", "en")), graph=graph))


def test_the_graph_works_where_only_words_are_searched(search: Searching, graph: MemoryGraph) -> None:
    options = SearchOptions(weights=Weights(embedding=0, text=1))
    assert 51 in ids(search("Acme Corp", options, graph=graph))
