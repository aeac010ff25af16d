"""What every Embedder owes, run over both runtimes and two ways of pooling."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rag.encoders.embed import open_embedder
from rag.encoders.embed_torch import SentenceTransformerEmbedder
from rag.ports import Embedder
from rag.sentences import Span
from tests.fakes.exporting import exporting_here
from tests.fakes.tiny_encoder import DIMENSIONS, MAX_LENGTH, save_tiny_encoder

TEXTS = ["bad cab", "", "a", "  ace  ", "zürich 東京", *("abcde " * length for length in range(1, 40))]


@pytest.fixture(scope="module", params=["mean", "cls"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("model") / request.param, pooling=request.param)


@pytest.fixture(scope="module", params=["openvino", "sentence-transformers"])
def embedder(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    if request.param == "openvino":
        with exporting_here():
            return open_embedder(str(model), cache_dir=tmp_path_factory.mktemp("cache"), threads=2, precision="f32")
    return SentenceTransformerEmbedder(model, name="tiny", id="tiny@0")


def test_vectors_are_those_of_sentence_transformers(embedder: Embedder, model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(model), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert (embedder.embed(TEXTS) * expected).sum(axis=1).min() > 0.999


def test_rows_are_unit_vectors_of_float32(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), DIMENSIONS) == (len(TEXTS), embedder.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, DIMENSIONS)


def test_rows_keep_the_order_of_the_texts(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.999


def test_spans_come_below_a_texts_own_vector_or_not_at_all(embedder: Embedder) -> None:
    texts = ["bad cab ace", "fed", ""]
    found = embedder.embed_spans(texts, [[Span(0, 3), Span(4, 11)], [Span(0, 3)], []])
    assert np.stack([vectors[0] for vectors in found]) == pytest.approx(embedder.embed(texts), abs=1e-4)
    assert [len(vectors) for vectors in found] in ([3, 2, 1], [1, 1, 1])
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(found), axis=1), 1, atol=1e-4)
    assert embedder.embed_spans([], []) == []


def test_text_beyond_the_limit_does_not_count(embedder: Embedder) -> None:
    longest = "a " * embedder.max_tokens
    kept, same, fewer = embedder.embed([longest, longest + "z z z", longest[:-2]])
    assert kept @ same > 0.999 > kept @ fewer
    assert embedder.max_tokens == MAX_LENGTH - 2


def test_tokenizer_neither_truncates_nor_pads(embedder: Embedder) -> None:
    embedder.embed(TEXTS)
    lengths = [len(encoding.ids) for encoding in embedder.tokenizer.encode_batch(["a", "a " * 50])]
    assert lengths == [3, 52]


def test_many_threads_embed_at_once(embedder: Embedder) -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda shift: embedder.embed(TEXTS[shift:]), [0, 1, 2, 43, 43, 43]))
    expected = embedder.embed(TEXTS)
    assert min((vectors * expected[-len(vectors) :]).sum(axis=1).min() for vectors in results) > 0.999
