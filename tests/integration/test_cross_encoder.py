"""Opening cross-encoders: the graph gives what sentence-transformers gives, and what cannot be one is refused."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rag.encoders.cross_encode import open_cross_encoder
from rag.encoders.cross_entail import CrossEntailment
from rag.encoders.cross_openvino import SAME_LOGIT, OpenVinoCrossEncoder
from rag.encoders.cross_rerank import CrossReranker
from rag.encoders.cross_torch import TorchCrossEncoder
from rag.errors import CrossEncoderUnavailable
from tests.fakes.exporting import exporting_here
from tests.fakes.tiny_cross_encoder import save_tiny_cross_encoder
from tests.fakes.tiny_encoder import save_tiny_encoder

NLI = ("contradiction", "entailment", "neutral")
PAIRS = [("bad cab", "a cab"), ("a", ""), ("", "bad"), ("d a d", "a b c d " * 12), ("c a b " * 10, "b a d " * 10)]
"""The long ones of single letters, so that a window's text is cut where its tokens are."""


@pytest.fixture(scope="module", autouse=True)
def exports() -> Iterator[list[str]]:
    with exporting_here() as ran:
        yield ran


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("model") / "tiny-ranker")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("model") / "tiny-nli", labels=NLI)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def predicted(folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    """The probabilities that sentence-transformers gives by itself."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu")
    return np.asarray(model.predict(pairs, apply_softmax=True, show_progress_bar=False))


@pytest.mark.parametrize("long", [0, 1])
def test_graph_gives_the_logits_of_sentence_transformers_in_every_window(
    judge: Path, cache: Path, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In floats that tell a wrong window from rounding, whatever this CPU computes in.
    monkeypatch.setattr("rag.encoders.graph.float_precision", lambda: "f32")
    graph, original = open_cross_encoder(str(judge), cache_dir=cache), TorchCrossEncoder(judge, name="", id="")
    assert isinstance(graph, OpenVinoCrossEncoder)
    for given, expected in zip(graph.logits(PAIRS, long=long), original.logits(PAIRS, long=long), strict=True):
        np.testing.assert_allclose(given, expected, atol=SAME_LOGIT["f32"])


def test_long_passage_is_as_relevant_as_its_best_window(reranker: Path, cache: Path) -> None:
    model = open_cross_encoder(str(reranker), cache_dir=cache)
    windows = model.logits([PAIRS[3]])[0]
    assert len(windows) > 1
    assert CrossReranker(model).relevance([PAIRS[3]]) == [pytest.approx(1 / (1 + np.exp(-windows.max())))]


def test_relevance_is_what_sentence_transformers_gives(reranker: Path, cache: Path) -> None:
    given = CrossReranker(open_cross_encoder(str(reranker), cache_dir=cache)).relevance(PAIRS[:2])
    np.testing.assert_allclose(given, predicted(reranker, PAIRS[:2]), atol=0.02)


def test_entailment_is_the_probability_of_the_label_of_that_name(judge: Path, cache: Path) -> None:
    given = CrossEntailment(open_cross_encoder(str(judge), cache_dir=cache)).entails(PAIRS[:2])
    np.testing.assert_allclose(given, predicted(judge, PAIRS[:2])[:, 1], atol=0.02)


def test_no_pairs_have_no_scores(reranker: Path, cache: Path) -> None:
    assert open_cross_encoder(str(reranker), cache_dir=cache).logits([]) == []


def test_model_of_several_labels_is_no_reranker(judge: Path, cache: Path) -> None:
    with pytest.raises(CrossEncoderUnavailable, match=r"'tiny-nli' is no reranker.*contradiction, entailment, neutral"):
        CrossReranker(open_cross_encoder(str(judge), cache_dir=cache))


def test_model_without_a_label_entailment_is_refused_by_name(reranker: Path, cache: Path) -> None:
    with pytest.raises(CrossEncoderUnavailable, match=r"'tiny-ranker' judges no entailment: its labels are LABEL_0"):
        CrossEntailment(open_cross_encoder(str(reranker), cache_dir=cache))


def test_embedder_is_refused_rather_than_given_a_random_head(tmp_path: Path) -> None:
    folder = save_tiny_encoder(tmp_path / "tiny")
    with pytest.raises(CrossEncoderUnavailable, match=r"holds no cross-encoder.*ForSequenceClassification"):
        open_cross_encoder(str(folder), cache_dir=tmp_path)


def test_graph_is_exported_once(reranker: Path, tmp_path: Path, exports: list[str]) -> None:
    exports.clear()
    for _ in range(2):
        open_cross_encoder(str(reranker), cache_dir=tmp_path)
    assert exports == ["rag.encoders.cross_export"]


def test_graph_that_computes_something_else_is_exported_again(
    reranker: Path, tmp_path: Path, exports: list[str]
) -> None:
    open_cross_encoder(str(reranker), cache_dir=tmp_path)
    (manifest,) = tmp_path.glob("*/manifest.json")
    fields = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(fields | {"probe_logits": [[one[0] + 1] for one in fields["probe_logits"]]}))
    exports.clear()
    assert isinstance(open_cross_encoder(str(reranker), cache_dir=tmp_path), OpenVinoCrossEncoder)
    assert exports == ["rag.encoders.cross_export"]


def test_model_without_openvino_runs_on_sentence_transformers(
    reranker: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = CrossReranker(open_cross_encoder(str(reranker), cache_dir=cache)).relevance(PAIRS)
    monkeypatch.setattr("rag.encoders.cross_encode.openvino_is_there", lambda: False)
    model = open_cross_encoder(str(reranker), cache_dir=tmp_path)
    assert isinstance(model, TorchCrossEncoder)
    assert "cross_encoder_fallback" in caplog.text
    np.testing.assert_allclose(CrossReranker(model).relevance(PAIRS), usual, atol=0.02)


def test_scoring_loads_neither_torch_nor_telemetry(reranker: Path, cache: Path) -> None:
    open_cross_encoder(str(reranker), cache_dir=cache)
    code = (
        "import sys; from pathlib import Path; from rag.encoders.cross_encode import open_cross_encoder\n"
        "open_cross_encoder(sys.argv[1], cache_dir=Path(sys.argv[2])).logits([('a', 'b')])\n"
        "print({'torch', 'transformers', 'sentence_transformers', 'openvino_telemetry'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(reranker), str(cache)]
    # Not `subprocess.run`: the exporter's stand-in has its place.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == "set()\n"
