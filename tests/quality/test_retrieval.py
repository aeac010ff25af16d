"""Floors for finding the right passage, through the real embedder, both indexes and the fusion.

The vectors of a collection are kept in LOAM_TEST_CACHE (else the user's cache folder), so that only
the first run embeds; it takes minutes.
"""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from rag.chunk import ChunkingStrategy, chunk
from rag.evaluate.collection import Collection, Question, load_beir, load_squad
from rag.evaluate.report import Report
from rag.evaluate.retrieval import DEPTH, evaluate_retrieval
from rag.fuse import Weights
from rag.index import StoreIndex
from rag.ports import Embedder
from rag.retrieve import SearchOptions, retrieve
from rag.sentences import sentences
from rag.types import Document
from tests.fakes.chunk_source import MemorySource
from tests.quality.kept import open_kept

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1800)]

WHOLE = ChunkingStrategy(max_tokens=4096)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_kept()


def windows(text: str, embedder: Embedder) -> list[str]:
    document = Document(name="text.txt", media_type="text/plain", text=text)
    chunks = chunk(document, embedder.tokenizer, WHOLE, max_window_tokens=embedder.max_tokens)
    return [text[window.start : window.end] for piece in chunks for window in piece.windows]


def stored(collection: Collection, embedder: Embedder) -> MemorySource:
    """Put the texts in a store, one chunk each, whose id is the text's position."""
    cut = [windows(text, embedder) for text in collection.texts]
    every = [window for text in cut for window in text]
    of_windows = iter(embedder.embed_spans(every, [sentences(window) for window in every]))
    source = MemorySource()
    for position, (title, text) in enumerate(zip(collection.titles, collection.texts, strict=True)):
        vectors = list(islice(of_windows, len(cut[position])))
        if vectors:
            own, inside = np.stack([one[0] for one in vectors]), np.concatenate([one[1:] for one in vectors])
            source.add(position, text, own, title=title, sentences=inside)
    return source


def report(collection: Collection, embedder: Embedder, folder: Path, *, weights: Weights | None = None) -> Report:
    """Search for every question."""
    source = stored(collection, embedder)
    index = StoreIndex(folder, embedder_id=embedder.id, dimensions=embedder.dimensions)
    options = SearchOptions(max_results=DEPTH, weights=weights or Weights())
    embedder.embed([question.text for question in collection.questions])

    def rank(question: str) -> list[int]:
        hits = retrieve(question, index=index, source=source, embedder=embedder, options=options)
        return [int(hit.passage.chunk_id) for hit in hits]

    return evaluate_retrieval(collection, rank)


def measured(report: Report) -> dict[str, float]:
    found = {name: one.value for name, one in report.estimates().items()}
    print(report.collection, {name: round(value, 4) for name, value in found.items()})
    return found


def test_scifact_claims_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/scifact")
    assert measured(report(collection, embedder, tmp_path))["ndcg@10"] >= 0.738


def test_cranfield_queries_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/cranfield")
    assert measured(report(collection, embedder, tmp_path))["ndcg@10"] >= 0.585


def test_squad_questions_find_their_paragraph(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    found = measured(report(load_squad(shared_data / "qa/squad/dev-v2.0.part.json"), embedder, tmp_path))
    assert found["recall@5"] >= 0.973
    assert found["mrr@10"] >= 0.92


def documentation(folder: Path) -> Collection:
    """Sections of a documentation, and questions that are answered in one to four of them."""
    sections = json.loads((folder / "data/anthropic_docs.json").read_text(encoding="utf-8"))
    asked = json.loads((folder / "evaluation/docs_evaluation_dataset.json").read_text(encoding="utf-8"))
    place = {one["chunk_link"]: number for number, one in enumerate(sections)}
    return Collection(
        name=folder.name,
        ids=list(place),
        titles=[one["chunk_heading"] for one in sections],
        texts=[one["text"] for one in sections],
        questions=[
            Question(one["id"], one["question"], {place[link]: 1 for link in one["correct_chunks"]}) for one in asked
        ],
    )


def test_questions_about_documentation_find_a_section_that_answers(
    shared_data: Path, embedder: Embedder, tmp_path: Path
) -> None:
    found = report(documentation(shared_data / "rag/anthropic_docs"), embedder, tmp_path)
    assert mean(case.scores["recall@3"] > 0 for case in found.cases) >= 0.93
    assert measured(found)["mrr@10"] >= 0.87


@pytest.mark.parametrize("language", ["es", "de", "zh"])
def test_what_the_embedder_reads_badly_is_found_by_its_words(
    language: str, shared_data: Path, embedder: Embedder, tmp_path: Path
) -> None:
    whole = load_squad(shared_data / f"qa/xquad/xquad.{language}.part.json")
    some = replace(whole, titles=[""] * len(whole.titles), questions=whole.questions[::6])
    both = measured(report(some, embedder, tmp_path / "both"))
    by_words = measured(report(some, embedder, tmp_path / "words", weights=Weights(embedding=0, text=1)))
    by_meaning = measured(report(some, embedder, tmp_path / "meaning", weights=Weights(embedding=1, text=0)))
    assert both["recall@5"] >= 0.93
    assert both["ndcg@10"] >= max(by_words["ndcg@10"], by_meaning["ndcg@10"]) - 0.015
