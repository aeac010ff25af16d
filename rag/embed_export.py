"""Turn a sentence-transformers model into the graph folder that `rag.embed_openvino` runs.

A program of its own, `python -m rag.embed_export SOURCE TARGET PRECISION`, so that torch is never loaded by the
process that embeds. It ends with 0 only when the graph gives the same vectors as sentence-transformers. A model whose
vectors int8 would change too much is exported in f32 instead; the manifest tells.
"""

import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.embed_openvino import SAME_VECTOR, Manifest, OpenVinoEmbedder, openvino
from rag.embed_quantize import calibration_batches, quantise

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PROBE = "Loam holds water, air and food for the roots of nearly every plant."
GOLDEN_TEXTS = (
    PROBE,
    "",
    "?",
    "  padded\twith \n white space  ",
    "Which year did Norman mercenaries first serve the Byzantine general?",
    "Ärger, naïve façade; 東京は日本の首都です。 مرحبا بالعالم 👩‍🌾🌱 ﬁn",
    "def f(x): return {'a': [x ** 2, 0.1e-7]}  # https://example.org/?q=1&r=%20",
    "a fairly long passage of plain words, twice what most encoders read. " * 80,
)


class ExportRejected(Exception):
    """The model cannot be exported, or its graph does not give the same vectors."""


def main() -> None:
    source, target, precision = sys.argv[1:]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        export(Path(source), Path(target), precision)
    except ExportRejected as exc:
        sys.exit(str(exc))


def export(source: Path, target: Path, precision: str) -> None:
    """Write the graph folder `target` and check it. Raises ExportRejected."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu").eval()
    _write_tokenizer(model, target / "tokenizer.json")
    try:
        _write(model, target, precision)
    except ExportRejected:
        if precision != "int8":
            raise
        _write(model, target, "f32")


def _write(model: "SentenceTransformer", target: Path, precision: str) -> None:
    graph, inputs = _traced(model)
    if precision == "int8":
        tokenizer = (target / "tokenizer.json").read_text(encoding="utf-8")
        quantise(graph, calibration_batches(tokenizer, inputs=inputs, max_tokens=int(model.max_seq_length)))
    # Halves hold all that bf16 keeps of a weight (8 bits of 11), at half the size on disk and in memory.
    openvino().save_model(graph, target / "graph.xml", compress_to_fp16=precision == "bf16")
    expected = model.encode(list(GOLDEN_TEXTS), normalize_embeddings=True)
    _manifest(model, target, inputs, precision, expected[0]).write(target)
    try:
        _check(target, expected)
    finally:
        shutil.rmtree(target / "compiled")  # OpenVINO keys what it compiled by the graph's path, which will be another


def _traced(model: "SentenceTransformer") -> tuple[Any, list[str]]:
    """The graph of the encoder with pooling and normalisation, and the names of its inputs, in order.

    Of a model that averages its tokens it gives these too.
    """
    import torch

    runtime = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Graph(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            given = self.model(dict(zip(inputs, tensors, strict=True)))
            vectors = torch.nn.functional.normalize(given["sentence_embedding"], p=2, dim=1)
            return (vectors, given["token_embeddings"]) if averages else (vectors,)

    averages = _averages_tokens(model)
    # Two texts of unlike length: with nothing masked, the trace would leave the mask out.
    features = model.preprocess(["one", "two and a few words more"])
    inputs = [name for name in INPUTS if name in features]
    with torch.no_grad():
        decoder = TorchScriptPythonDecoder(Graph().eval(), example_input=tuple(features[name] for name in inputs))
        # The frontend itself: `openvino.convert_model` around it reports to Google Analytics.
        frontend = FrontEndManager().load_by_framework("pytorch")
        graph = frontend.convert(frontend.load(decoder))
    for node, name in zip(graph.inputs, inputs, strict=True):
        node.get_node().set_partial_shape(runtime.PartialShape([-1, -1]))
        node.set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph, inputs


def _averages_tokens(model: "SentenceTransformer") -> bool:
    """Whether a text's vector is the mean of its tokens, and no more."""
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer, pooling, *others = model
    if not (isinstance(transformer, Transformer) and isinstance(pooling, Pooling)):
        return False
    return pooling.pooling_mode == "mean" and all(isinstance(one, Normalize) for one in others)


def _write_tokenizer(model: "SentenceTransformer", path: Path) -> None:
    from tokenizers import Tokenizer

    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportRejected("its tokenizer has no tokenizer.json form")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(path))


def _manifest(
    model: "SentenceTransformer", folder: Path, inputs: list[str], precision: str, probe_vector: Any
) -> Manifest:
    from tokenizers import Tokenizer

    one = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a")
    special = sum(one.special_tokens_mask)
    return Manifest(
        precision=precision,
        dimensions=len(probe_vector),
        max_tokens=int(model.max_seq_length) - special,
        special_tokens=special,
        tail_tokens=one.special_tokens_mask[::-1].index(0),
        pad_id=model.tokenizer.pad_token_id or 0,
        inputs=inputs,
        probe=PROBE,
        probe_vector=[float(value) for value in probe_vector],
        sizes={name: (folder / name).stat().st_size for name in ("graph.xml", "graph.bin", "tokenizer.json")},
    )


def _check(folder: Path, expected: Any) -> None:
    embedder = OpenVinoEmbedder(folder, name="", id="")
    alone = np.concatenate([embedder.embed([text]) for text in GOLDEN_TEXTS])
    for vectors in (embedder.embed(GOLDEN_TEXTS), alone):
        cosines = (vectors * expected).sum(axis=1)
        if not cosines.min() >= SAME_VECTOR[embedder.precision]:
            worst = GOLDEN_TEXTS[int(cosines.argmin())][:40]
            raise ExportRejected(f"its graph gives {worst!r} a vector of cosine {cosines.min():.4f} with the original")


if __name__ == "__main__":
    main()
