import pytest

from rag.knowledge.types import ChunkGraph, Entity, Relation
from rag.knowledge.walk import MOST_NAMED, SECOND_HOP, rarity, walk
from rag.types import ChunkId
from tests.fakes.entity_graph import MemoryGraph

QUESTION = "Where was the founder of Acme Corp raised?"
ORIGIN = [ChunkId(1)]


@pytest.fixture
def graph():
    graph = MemoryGraph()
    graph.add(1, "Acme Corp was founded by Jane Roe.")
    graph.add(2, "As a child Jane Roe lived in Forewa.")
    graph.add(3, "Forewa lies by the sea.")
    return graph


def test_one_step_leads_to_the_passage_that_holds_the_answer_and_two_beyond_it(graph):
    first, second = walk(QUESTION, graph, ORIGIN)
    assert (first.chunk_id, first.origin, first.strength) == (2, 1, 1.0)
    assert first.path == ("Acme Corp", "was founded by", "Jane Roe")
    assert (second.chunk_id, second.origin, second.strength) == (3, 1, SECOND_HOP)
    assert second.path == ("Acme Corp", "was founded by", "Jane Roe", "lived in", "Forewa")


def test_a_relation_that_is_walked_backwards_says_so(graph):
    first = walk("What did jane roe found?", graph, [ChunkId(2), ChunkId(1)])[0]
    assert first.path == ("Jane Roe", "lived in", "Forewa")
    graph.add(4, "The pumps of Acme Corp are blue.")
    [found] = [one for one in walk("What did jane roe found?", graph, ORIGIN) if one.chunk_id == 4]
    assert found.path == ("Jane Roe", "← was founded by", "Acme Corp")


def test_only_what_passages_say_that_the_question_finds_is_followed(graph):
    assert walk(QUESTION, graph, [ChunkId(3)]) == []
    assert walk(QUESTION, graph, []) == []


def test_a_question_that_names_nothing_known_walks_nowhere(graph):
    assert walk("How deep is the ocean?", graph, ORIGIN) == []
    assert walk("", graph, ORIGIN) == []


def test_what_many_passages_name_is_no_bridge(graph):
    for number in range(10, 10 + MOST_NAMED):
        graph.add(number, "They met Jane Roe.")
    assert walk(QUESTION, graph, ORIGIN) == []


def test_a_rarer_name_leads_further(graph):
    graph.put(
        1,
        ChunkGraph(
            entities=(Entity(key="acme corp", name="Acme Corp", kind=""), Entity(key="oslo", name="Oslo", kind="")),
            relations=(Relation(subject="acme corp", label="in", object="oslo"),),
        ),
    )
    for number in range(5, 12):
        graph.add(number, "We flew to Oslo in winter.")
    strengths = {one.path[-1]: one.strength for one in walk("Who owns Acme Corp?", graph, ORIGIN)}
    assert strengths["Oslo"] == rarity(8) < 1


def test_a_circle_is_walked_once():
    graph = MemoryGraph()
    graph.add(1, "In May Acme Corp met Jane Roe.")
    graph.add(2, "In June Jane Roe met Acme Corp.")
    assert [one.chunk_id for one in walk("Who is Acme Corp?", graph, ORIGIN)] == [2]
