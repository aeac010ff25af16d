"""Turn a cross-encoder into the graph folder that `rag.encoders.cross_openvino` runs.

A program of its own, `python -m rag.encoders.cross_export SOURCE TARGET PRECISION`, so that torch is never loaded by
the process that searches. It ends with 0 only when the graph gives the same logits as sentence-transformers.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.encoders.cross_openvino import SAME_LOGIT, OpenVinoCrossEncoder, PairManifest, logit_difference
from rag.encoders.cross_torch import labels_of, limit_of, raw_logits
from rag.encoders.cross_windows import Pair
from rag.encoders.graph_export import ExportRejected, run_export, save_graph, traced, write_tokenizer
from rag.encoders.graph_folder import sizes
from rag.ports import Vectors

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder

GOLDEN_PAIRS: tuple[Pair, ...] = (
    ("What do roots need?", "Loam holds water, air and food for the roots of nearly every plant."),
    ("What do roots need?", "The parliament met on a Tuesday."),
    ("a", "b"),
    ("The invoice is due in thirty days.", "Payment must arrive within a month."),
    ("Wie heißt die Hauptstadt?", "東京は日本の首都です。 مرحبا بالعالم 👩‍🌾🌱 ﬁn"),
    ("  what is\tf ", "def f(x): return {'a': [x ** 2, 0.1e-7]}  # https://example.org/?q=1&r=%20"),
)
PROBES = 2


def export(source: Path, target: Path, precision: str) -> None:
    """Write the graph folder `target` and check it. Raises ExportRejected."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(source), device="cpu").eval()
    write_tokenizer(model.tokenizer, target / "tokenizer.json")

    def forward(features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        return (model(features)["scores"],)

    graph, inputs = traced(forward, model, model.preprocess([("one", "two"), ("three and", "a few words more")]))
    save_graph(graph, target, precision)
    pairs = _fitting(model)
    expected = raw_logits(model, pairs)
    PairManifest(
        precision=precision,
        labels=labels_of(model),
        limit=limit_of(model),
        pad_id=model.tokenizer.pad_token_id or 0,
        inputs=inputs,
        probes=pairs[:PROBES],
        probe_logits=expected[:PROBES].tolist(),
        sizes=sizes(target),
    ).write(target)
    try:
        _check(target, pairs, expected, precision)
    finally:
        shutil.rmtree(target / "compiled")  # OpenVINO keys what it compiled by the graph's path, which will be another


def _fitting(model: "CrossEncoder") -> list[Pair]:
    """The golden pairs that both read whole: what is too long they cut each in their own way."""
    room = limit_of(model) // 2 - 2
    fitting = [pair for pair in GOLDEN_PAIRS if all(len(model.tokenizer.tokenize(text)) <= room for text in pair)]
    if not fitting:
        raise ExportRejected(f"it reads {limit_of(model)} tokens at once, too few for a pair of texts")
    return fitting


def _check(folder: Path, pairs: Sequence[Pair], expected: Vectors, precision: str) -> None:
    model = OpenVinoCrossEncoder(folder, name="", id="")
    alone = [logits for pair in pairs for logits in model.logits([pair])]
    for given in (model.logits(pairs), alone):
        difference = logit_difference(np.concatenate(given), expected)
        if not difference <= SAME_LOGIT[precision]:
            raise ExportRejected(f"its graph gives logits that differ by {difference:.4f} from the original's")


if __name__ == "__main__":
    run_export(export)
