"""The one door to OpenVINO: a graph compiled for this CPU, and batches of token ids that run through it.

Letters of shapes: b texts of a batch, t tokens of its longest text.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

BATCH_TOKENS = 512
"""Tokens of a batch: twice as many are 1 % faster and take 45 MB more."""

LENGTH_STEP = 8
"""Batches are padded to a multiple of this: OpenVINO prepares its kernels anew for every shape it has not seen."""

STEP_ALONE = 32
"""A text alone is padded further: another shape than the last one's costs as much as half of a question does."""

ASKED_TEXTS = 64
"""Up to so many are someone's questions, or the sentences of their answer: they never stand behind an ingest."""

MAX_STREAMS = 4
"""Batches computed side by side; each stream holds its own activations, so more cores widen the streams instead."""

COMPILING = Lock()
"""Held while OpenVINO compiles: it sets the process's locale to C meanwhile, and two at once would leave it so."""

Ids: TypeAlias = NDArray[np.int32]

Keep: TypeAlias = Callable[[Sequence[int], Sequence[NDArray[np.float32]]], None]
"""Takes what it wants of a batch's outputs, by the numbers of its texts."""


def openvino() -> ModuleType:
    """OpenVINO without its converter, which reports its use to Google Analytics and takes a third of the import."""
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # the documented way to refuse a module
    import openvino

    return openvino  # type: ignore[no-any-return]


def default_precision() -> str:
    """The fastest that finds the same passages: int8 where the CPU has VNNI, else the fastest float."""
    return "int8" if multiplies_bytes() else float_precision()


def float_precision() -> str:
    """bf16 where the CPU computes in it, else f32."""
    return "bf16" if "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def multiplies_bytes() -> bool:
    """Whether the CPU has VNNI. OpenVINO lists INT8 everywhere, but without VNNI sums may overflow their 16 bits."""
    try:
        return bool(re.search(r"\bavx(512)?_vnni\b", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False


class Graph:
    """A graph folder's `graph.xml`, compiled; it computes for any number of threads at once.

    Long lists are cut into batches of like length that run side by side. A short list runs on requests of its own, what
    is one batch in the caller's thread: a question waits for one batch of an ingest at most, not for the whole of it.
    """

    def __init__(
        self, folder: Path, *, precision: str, inputs: Sequence[str], pad_id: int, limit: int, threads: int | None
    ) -> None:
        """`inputs` are the names of its inputs, `limit` is the longest text in tokens, special ones counted."""
        self._inputs, self._pad_id, self._limit = inputs, pad_id, limit
        threads = threads or _cores()
        streams = min(threads, MAX_STREAMS)
        settings = {
            # int8 stands in the graph itself; the hint is for what is left.
            "INFERENCE_PRECISION_HINT": float_precision() if precision == "int8" else precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "CACHE_DIR": str(folder / "compiled"),  # halves the time to load
        }
        with COMPILING:
            graph = openvino().Core().compile_model(folder / "graph.xml", "CPU", settings)
        self._requests, self._bulk_requests = (_pool(graph, streams) for _ in range(2))
        self._workers, self._bulk_workers = (
            ThreadPoolExecutor(streams, thread_name_prefix=name) for name in ("graph", "graph-bulk")
        )

    def run(self, ids: Sequence[Ids], keep: Keep, types: Sequence[Ids] | None = None) -> None:
        """Infer all, in batches of like length. What `keep` is given is another batch's after it returns.

        `types` are the segments that tokens are of, 0 or 1; all are 0 by default.
        """
        batches = batches_by_length(ids)
        few = len(ids) <= ASKED_TEXTS
        requests = self._requests if few or len(batches) == 1 else self._bulk_requests

        def infer(rows: Sequence[int]) -> None:
            inputs = self._padded([ids[row] for row in rows], [types[row] for row in rows] if types else None)
            _infer(inputs, rows, keep, requests)

        if len(batches) == 1:
            infer(batches[0])
        else:
            list((self._workers if few else self._bulk_workers).map(infer, batches))

    def _padded(self, ids: Sequence[Ids], types: Sequence[Ids] | None) -> dict[str, NDArray[np.int64]]:
        """The graph's inputs, each `int64 [b, t]`."""
        longest, step = max(1, *map(len, ids)), STEP_ALONE if len(ids) == 1 else LENGTH_STEP
        shape = len(ids), min(-(-longest // step) * step, self._limit)
        tokens = np.full(shape, self._pad_id, dtype=np.int64)
        mask, segments = (np.zeros(shape, dtype=np.int64) for _ in range(2))
        for row, text in enumerate(ids):
            tokens[row, : len(text)] = text
            mask[row, : len(text)] = 1
            if types is not None:
                segments[row, : len(text)] = types[row]
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
        return {name: given[name] for name in self._inputs}


def _infer(inputs: dict[str, NDArray[np.int64]], rows: Sequence[int], keep: Keep, requests: "SimpleQueue[Any]") -> None:
    request = requests.get()
    try:
        # The outputs are the request's own memory, which the next batch overwrites.
        outputs = request.infer(inputs, share_inputs=True, share_outputs=True)
        keep(rows, [outputs[place] for place in range(len(outputs))])
    finally:
        requests.put(request)


def _cores() -> int:
    """The cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(graph: Any, size: int) -> "SimpleQueue[Any]":
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(size):
        requests.put(graph.create_infer_request())
    return requests


def batches_by_length(ids: Sequence[Ids]) -> list[list[int]]:
    """Rows of like length together, longest first, so that little is padding and the last to finish is small."""
    rows = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    batches, start = [], 0
    while start < len(rows):
        size = max(1, BATCH_TOKENS // max(1, len(ids[rows[start]])))
        batches.append(rows[start : start + size])
        start += size
    return batches
