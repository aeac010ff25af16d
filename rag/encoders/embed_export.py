"""Turn a sentence-transformers model into the graph folder that `rag.encoders.embed_openvino` runs.

A program of its own, `python -m rag.encoders.embed_export SOURCE TARGET PRECISION`, so that torch is never loaded by
the process that embeds. It ends with 0 only when the graph gives the vectors of sentence-transformers. A model whose
vectors int8 would change too much is exported in floats instead; the manifest tells.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.encoders.embed_openvino import SAME_VECTOR, Manifest, OpenVinoEmbedder
from rag.encoders.embed_quantize import calibration_batches, quantise
from rag.encoders.graph import float_precision
from rag.encoders.graph_export import ExportRejected, run_export, save_graph, traced, write_tokenizer
from rag.encoders.graph_folder import sizes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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


def export(source: Path, target: Path, precision: str) -> None:
    """Write the graph folder `target` and check it. Raises ExportRejected."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu").eval()
    write_tokenizer(model.tokenizer, target / "tokenizer.json")
    try:
        _write(model, target, precision)
    except ExportRejected:
        if precision != "int8":
            raise
        _write(model, target, float_precision())


def _write(model: "SentenceTransformer", target: Path, precision: str) -> None:
    graph, inputs = _traced(model)
    if precision == "int8":
        tokenizer = (target / "tokenizer.json").read_text(encoding="utf-8")
        quantise(graph, calibration_batches(tokenizer, inputs=inputs, max_tokens=int(model.max_seq_length)))
    save_graph(graph, target, precision)
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

    averages = _averages_tokens(model)

    def forward(features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        given = model(features)
        vectors = torch.nn.functional.normalize(given["sentence_embedding"], p=2, dim=1)
        return (vectors, given["token_embeddings"]) if averages else (vectors,)

    return traced(forward, model, model.preprocess(["one", "two and a few words more"]))


def _averages_tokens(model: "SentenceTransformer") -> bool:
    """Whether a text's vector is the mean of its tokens, and no more."""
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer, pooling, *others = model
    if not (isinstance(transformer, Transformer) and isinstance(pooling, Pooling)):
        return False
    return pooling.pooling_mode == "mean" and all(isinstance(one, Normalize) for one in others)


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
        sizes=sizes(folder),
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
    run_export(export)
