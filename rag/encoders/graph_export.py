"""What the programs that export graphs share: a torch module traced into OpenVINO, its tokenizer written beside it."""

import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.encoders.graph import openvino

if TYPE_CHECKING:
    import torch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class ExportRejected(Exception):
    """The model cannot be exported, or its graph does not give what the model gives."""


def run_export(export: Callable[[Path, Path, str], None]) -> None:
    """Be the program `SOURCE TARGET PRECISION`: it ends with 0 only when the graph is there and checked."""
    source, target, precision = sys.argv[1:]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        export(Path(source), Path(target), precision)
    except ExportRejected as exc:
        sys.exit(str(exc))


def traced(
    forward: "Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, ...]]",
    model: Any,
    features: "Mapping[str, torch.Tensor]",
) -> tuple[Any, list[str]]:
    """The graph of `forward`, which asks the torch module `model`, and the names of its inputs, in order.

    `features` are two texts of unlike length: with nothing masked, the trace would leave the mask out.
    """
    import torch

    runtime = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Traced(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return forward(dict(zip(inputs, tensors, strict=True)))

    inputs = [name for name in INPUTS if name in features]
    with torch.no_grad():
        decoder = TorchScriptPythonDecoder(Traced().eval(), example_input=tuple(features[name] for name in inputs))
        # The frontend itself: `openvino.convert_model` around it reports to Google Analytics.
        frontend = FrontEndManager().load_by_framework("pytorch")
        graph = frontend.convert(frontend.load(decoder))
    for node, name in zip(graph.inputs, inputs, strict=True):
        node.get_node().set_partial_shape(runtime.PartialShape([-1, -1]))
        node.set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph, inputs


def save_graph(graph: Any, target: Path, precision: str) -> None:
    # Halves hold all that bf16 keeps of a weight (8 bits of 11), at half the size on disk and in memory.
    openvino().save_model(graph, target / "graph.xml", compress_to_fp16=precision == "bf16")


def write_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write a transformers tokenizer in its tokenizer.json form, with neither truncation nor padding.

    Raises ExportRejected where it has no such form.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportRejected("its tokenizer has no tokenizer.json form")
    plain = Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    plain.save(str(path))
