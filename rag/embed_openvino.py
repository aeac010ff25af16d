"""The embedder that runs an exported graph with OpenVINO: the query path, free of torch.

A graph folder, as `rag.embed_export` writes it, holds `graph.xml`, `graph.bin`, `tokenizer.json` and `manifest.json`.
Letters of shapes: b texts of a batch, t tokens of its longest text, d dimensions.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors

BATCH_TOKENS = 512
"""Tokens of a batch: twice as many are 1 % faster and take 45 MB more."""

LENGTH_STEP = 8
"""Batches are padded to a multiple of this: OpenVINO prepares its kernels anew for every shape it has not seen."""

TEXTS_AT_ONCE = 256
"""Texts tokenised in one go; the tokenizer's own objects are a hundred times the ids that are kept of them."""

ASKED_TEXTS = 64
"""Up to so many are someone's questions, or the sentences of their answer: they never stand behind an ingest."""

MAX_STREAMS = 4
"""Batches computed side by side; each stream holds its own activations, so more cores widen the streams instead."""

SAME_VECTOR = {"f32": 0.999, "bf16": 0.999, "int8": 0.97}
"""By precision: the cosine above which two vectors of a text are the same but for rounding.

bf16 gives .9999. int8 gives .998, and down to .978 for scripts that the model reads letter by letter.
"""

COMPILING = Lock()
"""Held while OpenVINO compiles: it sets the process's locale to C meanwhile, and two at once would leave it so."""

Ids: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a graph folder says of itself.

    `precision` is what it computes in: f32, bf16 or int8. Of the special tokens around each text, `tail_tokens` follow
    it. `probe_vector` is the original model's vector of `probe`; `sizes` are those of the folder's files, in bytes.
    """

    precision: str
    dimensions: int
    max_tokens: int
    special_tokens: int
    tail_tokens: int
    pad_id: int
    inputs: Sequence[str]
    probe: str
    probe_vector: Sequence[float]
    sizes: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises OSError or ValueError when a file is missing, cut short or not readable."""
        fields = json.loads((folder / "manifest.json").read_text())
        for file, size in fields["sizes"].items():
            if (folder / file).stat().st_size != size:
                raise ValueError(f"{file} has not the {size} bytes that were written")
        return cls(**fields)

    def write(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(asdict(self)))


def openvino() -> ModuleType:
    """OpenVINO without its converter, which reports its use to Google Analytics and takes a third of the import."""
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # the documented way to refuse a module
    import openvino

    return openvino  # type: ignore[no-any-return]


def native_precision() -> str:
    """`bf16` where the CPU computes in it, else `f32`: what loses nothing."""
    capabilities = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "f32"


def multiplies_bytes() -> bool:
    """Whether the CPU has VNNI. OpenVINO lists INT8 everywhere, but without VNNI sums may overflow their 16 bits."""
    try:
        return bool(re.search(r"\bavx(512)?_vnni\b", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False


class OpenVinoEmbedder:
    """Embeds on the CPU, from any number of threads at once.

    Long lists are cut into batches of like length that run side by side. A short list runs on requests of its own, what
    is one batch in the caller's thread: a question waits for one batch of an ingest at most, not for the whole of it.
    """

    def __init__(self, folder: Path, *, name: str, id: str, threads: int | None = None) -> None:
        from tokenizers import Tokenizer

        self.name = name
        self.id = id
        self._manifest = Manifest.read(folder)
        self.precision = self._manifest.precision
        self.dimensions = self._manifest.dimensions
        self.max_tokens = self._manifest.max_tokens
        self._limit = self.max_tokens + self._manifest.special_tokens
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        threads = threads or _cores()
        streams = min(threads, MAX_STREAMS)
        settings = {
            # int8 stands in the graph itself; the hint is for what is left.
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "CACHE_DIR": str(folder / "compiled"),  # halves the time to load
        }
        with COMPILING:
            graph = openvino().Core().compile_model(folder / "graph.xml", "CPU", settings)
        self._requests, self._bulk_requests = (_pool(graph, streams) for _ in range(2))
        self._workers, self._bulk_workers = (
            ThreadPoolExecutor(streams, thread_name_prefix=name) for name in ("embed", "embed-bulk")
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give `float32 [len(texts), dimensions]`, rows of length 1, in the order of `texts`.

        What a text has beyond `max_tokens` is left out, as sentence-transformers does.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        ids = self._tokenise(texts)
        batches = batches_by_length(ids)

        def run(rows: Sequence[int], requests: "SimpleQueue[Any]") -> None:
            vectors[rows] = self._infer([ids[row] for row in rows], requests)

        if len(batches) == 1:
            run(batches[0], self._requests)
        elif len(texts) <= ASKED_TEXTS:
            list(self._workers.map(lambda rows: run(rows, self._requests), batches))
        else:
            list(self._bulk_workers.map(lambda rows: run(rows, self._bulk_requests), batches))
        return vectors

    def verify(self) -> None:
        """Raises ValueError when the graph does not give the vector that the original model gave of the probe."""
        cosine = float(self.embed([self._manifest.probe])[0] @ np.array(self._manifest.probe_vector))
        floor = SAME_VECTOR[self.precision]
        if not cosine >= floor:
            raise ValueError(f"the probe's vector has cosine {cosine:.6f} with the original's, not {floor}")

    def _tokenise(self, texts: Sequence[str]) -> list[Ids]:
        ids: list[Ids] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            encodings = self.tokenizer.encode_batch_fast(list(texts[start : start + TEXTS_AT_ONCE]))
            ids.extend(self._truncated(np.array(encoding.ids, dtype=np.int32)) for encoding in encodings)
        return ids

    def _truncated(self, ids: Ids) -> Ids:
        """Cut the text, not the special tokens around it. (The tokenizer is shared, so it may not truncate itself.)"""
        if len(ids) <= self._limit:
            return ids
        tail = self._manifest.tail_tokens
        return np.concatenate([ids[: self._limit - tail], ids[len(ids) - tail :]])

    def _infer(self, ids: Sequence[Ids], requests: "SimpleQueue[Any]") -> Vectors:
        inputs = self._padded(ids)
        request = requests.get()
        try:
            output: Vectors = request.infer(inputs, share_inputs=True, share_outputs=True)[0]
            return output.copy()  # the request's own memory is overwritten by the next batch
        finally:
            requests.put(request)

    def _padded(self, ids: Sequence[Ids]) -> dict[str, NDArray[np.int64]]:
        """The graph's inputs, each `int64 [b, t]`."""
        longest = max(1, *map(len, ids))
        shape = len(ids), min(-(-longest // LENGTH_STEP) * LENGTH_STEP, self._limit)
        tokens = np.full(shape, self._manifest.pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, text in enumerate(ids):
            tokens[row, : len(text)] = text
            mask[row, : len(text)] = 1
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros(shape, dtype=np.int64)}
        return {name: given[name] for name in self._manifest.inputs}


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
