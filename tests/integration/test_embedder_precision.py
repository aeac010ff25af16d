"""Graphs in 8 bits: what is quantised, how near the vectors stay, and what happens where they do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag.encoders import embed_export
from rag.encoders.embed import open_embedder
from rag.encoders.embed_openvino import SAME_VECTOR, Manifest, OpenVinoEmbedder
from rag.encoders.embed_quantize import quantise
from rag.encoders.embed_source import find_source
from rag.encoders.embed_torch import SentenceTransformerEmbedder
from rag.encoders.graph import float_precision, multiplies_bytes, openvino
from tests.fakes.exporting import exporting_here
from tests.fakes.tiny_encoder import save_tiny_encoder

TEXTS = ["bad cab", "", "a", "zürich 東京", *("abcde " * length for length in range(1, 9))]

needs_vnni = pytest.mark.skipif(not multiplies_bytes(), reason="needs a CPU with VNNI")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("model") / "tiny")


def linear(shape: list[int]) -> tuple[Any, np.ndarray]:
    """A graph of one layer from 16 to 8 channels, and its weights."""
    runtime = openvino()
    from openvino import opset13 as ops

    weights = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    tensor = ops.parameter(shape, np.float32, name="input_ids")
    tensor.output(0).set_names({"input_ids"})
    layer = ops.matmul(tensor, ops.constant(weights), transpose_a=False, transpose_b=True)
    return runtime.Model([layer], [tensor], "linear"), weights


def kinds(graph: Any) -> list[str]:
    return [node.get_type_name() for node in graph.get_ops()]


@needs_vnni
def test_layer_with_a_channel_far_above_the_others_keeps_its_output() -> None:
    graph, weights = linear([-1, -1, 16])
    tokens = np.random.default_rng(1).normal(size=(1, 200, 16)).astype(np.float32)
    tokens[..., 3] *= 30
    quantise(graph, [{"input_ids": tokens}])
    output = openvino().Core().compile_model(graph, "CPU")([tokens])[0]
    expected = tokens @ weights.T
    assert kinds(graph).count("FakeQuantize") == 1
    assert np.sqrt(((output - expected) ** 2).mean() / (expected**2).mean()) < 0.02


def test_layer_over_whole_texts_stays_in_float() -> None:
    graph, _ = linear([-1, 16])
    quantise(graph, [])
    assert "FakeQuantize" not in kinds(graph)


@needs_vnni
def test_int8_vectors_are_near_the_original_and_have_the_same_id(model: Path, tmp_path: Path) -> None:
    with exporting_here():
        coarse = open_embedder(str(model), cache_dir=tmp_path, precision="int8")
    exact = SentenceTransformerEmbedder(model, name="tiny", id=coarse.id)
    assert isinstance(coarse, OpenVinoEmbedder)
    assert coarse.precision == "int8"
    assert coarse.id == find_source(str(model), cache_dir=tmp_path, download=False).id
    cosines = (exact.embed(TEXTS) * coarse.embed(TEXTS)).sum(axis=1)
    assert SAME_VECTOR["int8"] < cosines.min() < 0.99999


@pytest.mark.filterwarnings("ignore")  # torch warns of tracing, which the exporter's own process silences
def test_model_that_int8_would_change_is_exported_in_float(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SAME_VECTOR, "int8", 1.01)
    embed_export.export(model, tmp_path, "int8")
    assert Manifest.read(tmp_path).precision == float_precision()
    OpenVinoEmbedder(tmp_path, name="tiny", id="").verify()
