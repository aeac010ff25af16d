"""Opening embedders: the graph made once, kept, repaired, and done without."""

import locale
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import platformdirs
import pytest
from sentence_transformers import SentenceTransformer

from rag.encoders import embed_export, graph
from rag.encoders.embed import open_embedder
from rag.encoders.embed_openvino import OpenVinoEmbedder
from rag.encoders.embed_torch import SentenceTransformerEmbedder
from rag.encoders.graph import openvino
from tests.fakes.exporting import exporting_here
from tests.fakes.tiny_encoder import save_tiny_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("model") / "tiny", normalise=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A cache that holds the model's graph, made by two openings at once."""
    folder = tmp_path_factory.mktemp("cache")
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(lambda _: open_embedder(str(model), cache_dir=folder), range(2)))
    assert [type(embedder) for embedder in opened] == [OpenVinoEmbedder, OpenVinoEmbedder]
    return folder


@pytest.fixture
def exports() -> Iterator[list[str]]:
    with exporting_here() as ran:
        yield ran


def graph_folder(cache: Path) -> Path:
    (graph,) = cache.glob("*/graph.bin")
    return graph.parent


def test_two_openings_at_once_leave_one_whole_graph(cache: Path) -> None:
    left = sorted(path.name for path in graph_folder(cache).iterdir())
    assert left == ["compiled", "graph.bin", "graph.xml", "manifest.json", "tokenizer.json"]
    assert sorted(path.suffix for path in cache.iterdir()) == ["", "", ".lock"]


def test_graphs_are_compiled_one_at_a_time_and_leave_the_locale_as_it_was(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, core = [0], [0], openvino().Core()

    class Core:
        get_property = core.get_property

        def compile_model(self, *given: Any) -> Any:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            threading.Event().wait(0.05)  # for another to come between
            try:
                return core.compile_model(*given)
            finally:
                under_way[0] -= 1

    monkeypatch.setattr(graph, "openvino", lambda: SimpleNamespace(Core=Core))
    before, folder = locale.setlocale(locale.LC_ALL), graph_folder(cache)
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: OpenVinoEmbedder(folder, name="tiny", id="tiny"), range(4)):
            pass
    assert (most[0], locale.setlocale(locale.LC_ALL)) == (1, before)


def test_graph_in_the_cache_is_not_exported_again(model: Path, cache: Path, exports: list[str]) -> None:
    assert isinstance(open_embedder(str(model), cache_dir=cache), OpenVinoEmbedder)
    assert exports == []


def test_truncated_graph_is_exported_again(model: Path, cache: Path, exports: list[str]) -> None:
    damaged = graph_folder(cache) / "graph.bin"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert isinstance(open_embedder(str(model), cache_dir=cache), OpenVinoEmbedder)
    assert exports == ["rag.encoders.embed_export"]


def test_graph_that_computes_something_else_is_exported_again(model: Path, cache: Path, exports: list[str]) -> None:
    folder = graph_folder(cache)
    for compiled in (folder / "compiled").iterdir():
        compiled.unlink()
    (folder / "graph.bin").write_bytes(bytes((folder / "graph.bin").stat().st_size))
    assert isinstance(open_embedder(str(model), cache_dir=cache), OpenVinoEmbedder)
    assert exports == ["rag.encoders.embed_export"]


@pytest.mark.filterwarnings("ignore")  # the exporter, a program of its own, ignores what torch says of being traced
def test_what_a_graph_is_checked_against_attends_as_the_model_does(model: Path) -> None:
    original = SentenceTransformer(str(model), device="cpu").eval()
    config = original[0].auto_model.config
    before = config._attn_implementation
    graph, _ = embed_export._traced(original)
    kinds = [node.get_type_name() for node in graph.get_ordered_ops()]
    assert "Softmax" in kinds and "ScaledDotProductAttention" not in kinds
    assert config._attn_implementation == before


@pytest.mark.usefixtures("exports")
def test_other_weights_of_the_same_name_get_another_id_and_graph(model: Path, cache: Path, tmp_path: Path) -> None:
    other = save_tiny_encoder(tmp_path / "tiny", seed=1)
    one, two = (open_embedder(str(folder), cache_dir=cache) for folder in (model, other))
    assert one.name == two.name == "tiny"
    assert one.id != two.id
    assert float(one.embed(["bad cab"])[0] @ two.embed(["bad cab"])[0]) < 0.99


@pytest.mark.usefixtures("exports")
def test_model_without_openvino_runs_on_sentence_transformers(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = open_embedder(str(model), cache_dir=cache, precision="f32")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING, "rag.encoders.embed"):
        embedder = open_embedder(str(model), cache_dir=cache)
    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert embedder.id == usual.id
    assert float(embedder.embed(["bad cab"])[0] @ usual.embed(["bad cab"])[0]) > 0.999
    assert "embedder_fallback" in caplog.text


def test_model_whose_export_fails_runs_on_sentence_transformers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with caplog.at_level(logging.WARNING, "rag.encoders.embed"):
        embedder = open_embedder(str(model), cache_dir=tmp_path)
    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert "the export failed" in caplog.text
    assert not list(tmp_path.glob("*/graph*"))


def test_model_without_a_cache_that_can_be_written_runs_on_sentence_transformers(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()  # No folder can be made below it, not even by root.

    embedder = open_embedder(str(model), cache_dir=tmp_path / "file" / "cache")

    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert "cannot be used" in caplog.text


def test_embedding_loads_neither_torch_nor_telemetry(model: Path, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rag.encoders.embed import open_embedder\n"
        "open_embedder(sys.argv[1], cache_dir=Path(sys.argv[2])).embed(['a', 'b'])\n"
        "print({'torch', 'transformers', 'sentence_transformers', 'openvino_telemetry'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(model), str(cache)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_default_model_is_the_one_the_hub_has() -> None:
    embedder = open_embedder("all-MiniLM-L6-v2", cache_dir=platformdirs.user_cache_path("loam"))
    question, answer, other = embedder.embed(
        ["How do plants drink?", "Roots take up water from the soil.", "The parliament met on a Tuesday."]
    )
    assert embedder.id == "all-MiniLM-L6-v2@53aa51172d14"
    assert (embedder.dimensions, embedder.max_tokens) == (384, 254)
    assert question @ answer > 0.4 > 0.2 > question @ other
