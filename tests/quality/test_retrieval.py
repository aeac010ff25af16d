"""Floors for finding the right passage, through the real embedder, both indexes and the fusion.

The vectors of a collection are kept in LOAM_TEST_CACHE (else the user's cache folder), so that only
the first run embeds; it takes minutes.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import platformdirs
import pytest

from rag.chunk import ChunkingStrategy, chunk
from rag.embed import open_embedder
from rag.index import StoreIndex
from rag.ports import Embedder, Vectors
from rag.retrieve import SearchOptions, retrieve
from rag.types import Document
from tests.fakes.chunk_source import MemorySource
from tests.quality.collection import Collection, load_beir, load_squad, ndcg, recall, reciprocal_rank

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1800)]

CACHE = Path(os.environ.get("LOAM_TEST_CACHE") or platformdirs.user_cache_path("loam") / "tests")
WHOLE = ChunkingStrategy(max_tokens=4096)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam"))


def windows(text: str, embedder: Embedder) -> list[str]:
    document = Document(name="text.txt", media_type="text/plain", text=text)
    chunks = chunk(document, embedder.tokenizer, WHOLE, max_window_tokens=embedder.max_tokens)
    return [text[window.start : window.end] for piece in chunks for window in piece.windows]


def embedded(texts: Sequence[str], embedder: Embedder) -> Vectors:
    """Embed texts, or read what an earlier run has made of them."""
    digest = hashlib.sha256("\0".join([embedder.id, *texts]).encode()).hexdigest()[:24]
    path = CACHE / f"{digest}.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, embedder.embed(texts))
        partial.replace(path)
    vectors: Vectors = np.load(path)
    return vectors


def stored(collection: Collection, embedder: Embedder) -> MemorySource:
    """Put the texts in a store, one chunk each, whose id is the text's position."""
    cut = [windows(text, embedder) for text in collection.texts]
    vectors = np.split(embedded([window for text in cut for window in text], embedder), np.cumsum([*map(len, cut)]))
    source = MemorySource()
    for position, (title, text) in enumerate(zip(collection.titles, collection.texts, strict=True)):
        source.add(position, text, vectors[position], title=title)
    return source


def rankings(collection: Collection, embedder: Embedder, folder: Path) -> list[tuple[list[int], Mapping[int, int]]]:
    """Search for every question; give what was found, best first, with what should have been."""
    source = stored(collection, embedder)
    index = StoreIndex(folder, embedder_id=embedder.id, dimensions=embedder.dimensions)
    found = []
    for question in collection.questions:
        hits = retrieve(question.text, index=index, source=source, embedder=embedder, options=SearchOptions())
        found.append(([int(hit.passage.chunk_id) for hit in hits], question.relevant))
    return found


def test_scifact_claims_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/scifact", queries="queries_test.jsonl")
    score = mean(ndcg(*one) for one in rankings(collection, embedder, tmp_path))
    print(f"SciFact nDCG@10 {score:.4f}")
    assert score >= 0.73


def test_cranfield_queries_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/cranfield")
    score = mean(ndcg(*one) for one in rankings(collection, embedder, tmp_path))
    print(f"Cranfield nDCG@10 {score:.4f}")
    assert score >= 0.56


def test_squad_questions_find_their_paragraph(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    found = rankings(load_squad(shared_data / "qa/squad/dev-v2.0.part.json"), embedder, tmp_path)
    at_five, first = mean(recall(*one, k=5) for one in found), mean(reciprocal_rank(*one) for one in found)
    print(f"SQuAD recall@5 {at_five:.4f} MRR@10 {first:.4f}")
    assert at_five >= 0.96
    assert first >= 0.88
