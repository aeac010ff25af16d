"""What the programs that export graphs share: a torch module traced into OpenVINO, its tokenizer written beside it."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.encoders.graph import openvino

if TYPE_CHECKING:
    import torch

WRITTEN_OUT = "written_out"
PLAIN_ENCODERS = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})
"""Kinds of models in which every token attends to every other, with no more than softmax(q kᵀ / √d + padding) v."""

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
    with torch.no_grad(), _attention_written_out(model):
        decoder = TorchScriptPythonDecoder(Traced().eval(), example_input=tuple(features[name] for name in inputs))
        # The frontend itself: `openvino.convert_model` around it reports to Google Analytics.
        frontend = FrontEndManager().load_by_framework("pytorch")
        graph = frontend.convert(frontend.load(decoder))
    for node, name in zip(graph.inputs, inputs, strict=True):
        node.get_node().set_partial_shape(runtime.PartialShape([-1, -1]))
        node.set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph, inputs


@contextmanager
def _attention_written_out(model: Any) -> Iterator[None]:
    """Have attention traced as the products it is made of, where they are known to be all of it.

    OpenVINO then makes one kernel of them, mask and changes of order included. Of torch's own attention it makes the
    mask anew, as large as all pairs of tokens, and leaves changes of order outside.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

    AttentionInterface.register(WRITTEN_OUT, _attention)
    AttentionMaskInterface.register(WRITTEN_OUT, _padding_mask)
    plain = [one for one in model.modules() if isinstance(one, PreTrainedModel) and _is_plain(one.config)]
    before = [one.config._attn_implementation for one in plain]
    try:
        for one in plain:
            one.set_attn_implementation(WRITTEN_OUT)
        yield
    finally:
        for one, implementation in zip(plain, before, strict=True):
            one.set_attn_implementation(implementation)


def _is_plain(config: Any) -> bool:
    return config.model_type in PLAIN_ENCODERS and not getattr(config, "is_decoder", False)


def _attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *, scaling: float, **others: Any
) -> tuple[Any, None]:
    """Attend with queries, keys and values `[b, heads, t, d]`: softmax(q kᵀ · scaling + mask) v, `[b, t, heads, d]`."""
    # Scaled between its two changes of order, the key reaches the kernel with one of them; the other is the kernel's.
    scores = query @ (key * scaling).transpose(2, 3) + attention_mask
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def _padding_mask(*, attention_mask: Any, dtype: Any, **others: Any) -> Any:
    """What to add to scores, `[b, 1, 1, t]`: all tokens see all but padding."""
    import torch

    seen = attention_mask[:, None, None, :].bool()
    return torch.where(seen, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


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
