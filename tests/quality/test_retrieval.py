"""Floors for finding the right passage, through the real embedder, both indexes and the fusion.

The vectors of a collection are kept in LOAM_TEST_CACHE (else the user's cache folder), so that only
the first run embeds; it takes minutes.
"""

import hashlib
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from rag.chunk import ChunkingStrategy, chunk
from rag.embed import open_embedder
from rag.evaluate.collection import Collection, load_beir, load_squad
from rag.evaluate.retrieval import DEPTH, evaluate_retrieval
from rag.index import StoreIndex
from rag.ports import Embedder, Vectors
from rag.retrieve import SearchOptions, retrieve
from rag.sentences import sentences
from rag.types import Document
from tests.fakes.chunk_source import MemorySource

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


def embedded(texts: Sequence[str], embedder: Embedder) -> list[Vectors]:
    """Embed texts with their sentences, or read what an earlier run has made of them."""
    spans = [sentences(text) for text in texts]
    digest = hashlib.sha256(repr((embedder.id, getattr(embedder, "precision", ""), texts, spans)).encode()).hexdigest()[
        :24
    ]
    path = CACHE / f"{digest}.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, np.concatenate(embedder.embed_spans(texts, spans)).astype(np.float16))
        partial.replace(path)
    vectors: Vectors = np.load(path).astype(np.float32)
    return np.split(vectors, np.cumsum([1 + len(inside) for inside in spans])[:-1])


def stored(collection: Collection, embedder: Embedder) -> MemorySource:
    """Put the texts in a store, one chunk each, whose id is the text's position."""
    cut = [windows(text, embedder) for text in collection.texts]
    of_windows = iter(embedded([window for text in cut for window in text], embedder))
    source = MemorySource()
    for position, (title, text) in enumerate(zip(collection.titles, collection.texts, strict=True)):
        vectors = list(islice(of_windows, len(cut[position])))
        if vectors:
            own, inside = np.stack([one[0] for one in vectors]), np.concatenate([one[1:] for one in vectors])
            source.add(position, text, own, title=title, sentences=inside)
    return source


def measured(collection: Collection, embedder: Embedder, folder: Path) -> dict[str, float]:
    """Search for every question; give all measures."""
    source = stored(collection, embedder)
    index = StoreIndex(folder, embedder_id=embedder.id, dimensions=embedder.dimensions)
    options = SearchOptions(max_results=DEPTH)

    def rank(question: str) -> list[int]:
        hits = retrieve(question, index=index, source=source, embedder=embedder, options=options)
        return [int(hit.passage.chunk_id) for hit in hits]

    found = {name: one.value for name, one in evaluate_retrieval(collection, rank).estimates().items()}
    print(collection.name, {name: round(value, 4) for name, value in found.items()})
    return found


def test_scifact_claims_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/scifact")
    assert measured(collection, embedder, tmp_path)["ndcg@10"] >= 0.73


def test_cranfield_queries_find_their_abstracts(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    collection = load_beir(shared_data / "retrieval/cranfield")
    assert measured(collection, embedder, tmp_path)["ndcg@10"] >= 0.58


def test_squad_questions_find_their_paragraph(shared_data: Path, embedder: Embedder, tmp_path: Path) -> None:
    found = measured(load_squad(shared_data / "qa/squad/dev-v2.0.part.json"), embedder, tmp_path)
    assert found["recall@5"] >= 0.973
    assert found["mrr@10"] >= 0.915
