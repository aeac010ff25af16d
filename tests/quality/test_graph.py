"""What a graph brings where the answer is two passages away from the question, and what it costs where it is not.

The collection of two steps is made up: sixty firms, their founders, and where these grew up, worded alike, so that
nothing but the founder's name tells one answer from another.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from rag.evaluate.collection import Collection, Question, load_squad
from rag.evaluate.retrieval import evaluate_retrieval
from rag.index import StoreIndex
from rag.knowledge.walk import EntityGraph
from rag.ports import Embedder
from rag.retrieve import SearchOptions, retrieve
from tests.fakes.entity_graph import MemoryGraph
from tests.quality.kept import open_kept
from tests.quality.test_retrieval import measured, stored

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1800)]

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "wa", "ze")
FOUNDED = (
    "{firm} was founded by {person} in 1911. It makes pumps and employs forty people.",
    "The owner of {firm} was {person} for many years, until it was sold to its workers.",
    "{person} started {firm} with two friends. The company still makes tiles.",
)
RAISED = (
    "{person} grew up beside the harbour of {town}, where her uncle mended nets.",
    "As a child {person} lived above a bakery in {town} with four brothers.",
    "{person} learned to read late, in the parish school at {town}.",
)
ASKED = ("Where was the founder of {firm} raised?", "Where did the person behind {firm} spend the early years?")
FIRMS = 60


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_kept()


Finding: TypeAlias = Callable[[EntityGraph | None], dict[str, float]]


def finding(collection: Collection, embedder: Embedder, folder: Path) -> Finding:
    """Store the texts, for every question to be asked of them over a graph or none."""
    index = StoreIndex(folder, embedder_id=embedder.id, dimensions=embedder.dimensions)
    source, options = stored(collection, embedder), SearchOptions(max_results=20)
    embedder.embed([question.text for question in collection.questions])

    def found(graph: EntityGraph | None) -> dict[str, float]:
        def rank(question: str) -> list[int]:
            hits = retrieve(question, index=index, source=source, embedder=embedder, options=options, graph=graph)
            return [int(hit.passage.chunk_id) for hit in hits]

        return measured(evaluate_retrieval(collection, rank))

    return found


def drawn(collection: Collection) -> MemoryGraph:
    graph = MemoryGraph()
    for number, (title, text) in enumerate(zip(collection.titles, collection.texts, strict=True)):
        graph.add(number, text, [title.replace("_", " ")] if title else [])
    return graph


def two_steps(others: Collection) -> Collection:
    """The firms among other passages; only where their founders grew up is right."""
    seeded = random.Random(5)

    def name(syllables: int) -> str:
        return "".join(seeded.choice(SYLLABLES) for _ in range(syllables)).capitalize()

    texts, questions = [], []
    for number in range(FIRMS):
        names = {"firm": f"{name(3)} Mills", "person": f"{name(2)} {name(3)}", "town": name(3)}
        texts += [seeded.choice(FOUNDED).format(**names), seeded.choice(RAISED).format(**names)]
        questions.append(Question(str(number), seeded.choice(ASKED).format(**names), {len(texts) - 1: 1}))
    texts += others.texts
    titles = [""] * (2 * FIRMS) + list(others.titles)
    return Collection(
        name="two steps", ids=[str(number) for number in range(len(texts))], titles=titles, texts=texts,
        questions=questions,
    )  # fmt: skip


def test_the_graph_finds_what_is_two_passages_away(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = two_steps(load_squad(shared_data / "qa/squad/dev-v2.0.part.json"))
    found = finding(collection, embedder, tmp_path)
    without, over = found(None), found(drawn(collection))
    assert over["recall@3"] >= 0.9
    assert without["recall@10"] <= 0.1


def test_the_graph_does_no_harm_where_one_passage_answers(
    shared_data: Path, embedder: Embedder, tmp_path: Path
) -> None:
    whole = load_squad(shared_data / "qa/squad/dev-v2.0.part.json")
    some = replace(whole, questions=whole.questions[::6])
    found = finding(some, embedder, tmp_path)
    without, over = found(None), found(drawn(some))
    assert over["mrr@10"] >= without["mrr@10"] - 0.002
    assert over["recall@5"] >= without["recall@5"] - 0.005
