"""Make the linear layers of an encoder's graph compute in 8 bits: static post-training quantisation.

What enters a layer becomes uint8 with one range a tensor, measured beforehand on calibration texts; a weight becomes
int8 with one scale an output. A few channels hold values twenty times as large as the rest and would leave these a
handful of steps; SmoothQuant (Xiao et al., 2022, arXiv:2211.10438) moves part of their size into the weights. All else
(attention, normalisation, pooling) stays in float. Letters of shapes: t tokens, k inputs and n outputs of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rag.encoders.graph import openvino

SMOOTHING = 0.7
"""SmoothQuant's alpha: the share of a channel's size that goes into the weights; see the README for others."""

CALIBRATION = Path(__file__).with_name("embed_calibration.txt")

Floats: TypeAlias = NDArray[np.float32]
Batch: TypeAlias = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The least and the largest value of each channel, `float32 [k]` each."""

    least: Floats
    most: Floats


def calibration_batches(tokenizer_json: str, *, inputs: Sequence[str], max_tokens: int) -> list[Batch]:
    """Our own paragraphs, each alone and then eight in a row, as the graph's inputs `int64 [1, t]`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_truncation(max_tokens)
    paragraphs = CALIBRATION.read_text(encoding="utf-8").split("\n\n")
    rows = [" ".join(paragraphs[start : start + 8]) for start in range(0, len(paragraphs), 4)]
    batches: list[Batch] = []
    for encoding in tokenizer.encode_batch([*paragraphs, *rows]):
        tokens = np.array([encoding.ids], dtype=np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        batches.append({name: given[name] for name in inputs})
    return batches


def quantise(graph: Any, batches: Sequence[Batch]) -> None:
    """Change an OpenVINO model in place, by the ranges that its layers' inputs have over `batches`."""
    from openvino import opset13 as ops

    # Query, key and value read the same tensor: it is quantised once, with one smoothing for the three.
    groups = [list(group) for _, group in groupby(_linear_layers(graph), key=_source)]
    for layers, seen in zip(groups, _ranges(graph, groups, batches), strict=True):
        weights = [_weights(layer) for layer in layers]
        scales = smoothing(seen, np.concatenate(weights))
        low, high = uint8_range(seen, scales)
        smoothed = ops.multiply(layers[0].input_value(0), ops.constant((1 / scales)[None, None]))
        tensor = ops.fake_quantize(smoothed, low, high, low, high, levels=256)
        for layer, weight in zip(layers, weights, strict=True):
            rows, steps = int8_rows(weight * scales)
            layer.input(0).replace_source_output(tensor.output(0))
            restored = ops.multiply(ops.convert(ops.constant(rows), "f32"), ops.constant(steps))
            layer.input(1).replace_source_output(restored.output(0))
    graph.validate_nodes_and_infer_types()


def smoothing(seen: Range, weights: Floats) -> Floats:
    """What to divide each channel by, and to multiply the weights `[n, k]` with: `float32 [k]`, of geometric mean 1."""
    sizes = np.maximum(np.maximum(-seen.least, seen.most), 1e-5)
    scales = sizes**SMOOTHING / np.maximum(np.abs(weights).max(axis=0), 1e-5) ** (1 - SMOOTHING)
    unit: Floats = (scales / np.exp(np.log(scales).mean())).astype(np.float32)
    return unit


def uint8_range(seen: Range, scales: Floats) -> tuple[np.float32, np.float32]:
    """The values of 0 and 255. They span what was seen, and 0.0 falls on a step, for most values are near it."""
    low = min(0.0, float((seen.least / scales).min()))
    high = max(1e-5, float((seen.most / scales).max()))
    step = (high - low) / 255
    zero = round(-low / step)
    return np.float32(-zero * step), np.float32((255 - zero) * step)


def int8_rows(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Weights `[n, k]` as whole numbers from -127 to 127, and the step `[n, 1]` of each row."""
    steps = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-12) / 127
    return np.round(weights / steps).astype(np.int8), steps.astype(np.float32)


def _linear_layers(graph: Any) -> list[Any]:
    """Multiplications of a tensor `[b, t, k]` with constant weights `[n, k]`, in the order of computing."""
    return [
        node
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.get_attributes()["transpose_b"]
        and node.input_value(0).get_partial_shape().rank == 3
        and node.input_value(1).get_node().get_type_name() == "Constant"
    ]


def _source(layer: Any) -> tuple[str, int]:
    value = layer.input_value(0)
    return value.get_node().get_name(), value.get_index()


def _weights(layer: Any) -> Floats:
    return np.array(layer.input_value(1).get_node().data, dtype=np.float32)


def _ranges(graph: Any, groups: Sequence[Sequence[Any]], batches: Sequence[Batch]) -> list[Range]:
    """The range of what each group of layers reads, over all batches."""
    from openvino import opset13 as ops

    runtime = openvino()
    tensors = [layers[0].input_value(0) for layers in groups]
    extremes = [reduce(tensor, [0, 1]) for tensor in tensors for reduce in (ops.reduce_min, ops.reduce_max)]
    observer = runtime.Model(extremes, graph.get_parameters(), "ranges")
    compiled = runtime.Core().compile_model(observer, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    seen = [[np.copy(value) for value in request.infer(batch).values()] for batch in batches]
    by_tensor = [np.stack(values) for values in zip(*seen, strict=True)]
    return [
        Range(least=least.min(axis=0), most=most.max(axis=0))
        for least, most in zip(by_tensor[0::2], by_tensor[1::2], strict=True)
    ]
