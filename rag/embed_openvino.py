"""The embedder that runs an exported graph with OpenVINO: the query path, free of torch.

A graph folder, as `rag.embed_export` writes it, holds `graph.xml`, `graph.bin`, `tokenizer.json` and `manifest.json`.
The graph gives the texts' vectors `[b, d]`, and of a model that averages its tokens also these, `[b, t, d]`.
Letters of shapes: b texts of a batch, t tokens of its longest text, d dimensions, s spans of a text.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.sentences import Span

if TYPE_CHECKING:
    from tokenizers import Encoding

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
Offsets: TypeAlias = NDArray[np.int32]
"""Where each token begins and ends in its text, `int32 [t, 2]`; special tokens are empty."""

Keep: TypeAlias = Callable[[Sequence[int], Sequence[Vectors]], None]
"""Takes what it wants of a batch's outputs, by the numbers of its texts."""


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


def default_precision() -> str:
    """The fastest that finds the same passages: bf16 where the CPU computes in it, else int8 with VNNI, else f32."""
    capabilities = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "int8" if multiplies_bytes() else "f32"


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

        def keep(rows: Sequence[int], outputs: Sequence[Vectors]) -> None:
            vectors[rows] = outputs[0]

        self._run([self._truncated(np.array(encoding.ids, dtype=np.int32)) for encoding in self._encoded(texts)], keep)
        return vectors

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """Give for each text `float32 [1 + s, d]`, rows of length 1: its own vector, then one for each of its spans.

        A span's vector is the mean of its tokens as the model read them in the whole text, so that all cost one pass
        ("late chunking", Günther et al., 2024, arXiv:2409.04701). A span of which nothing was read has the text's
        own vector. A model that does not average its tokens gives no spans' vectors: `[1, d]`.
        """
        ids, offsets = self._tokens_and_offsets(texts)
        vectors: dict[int, Vectors] = {}

        def keep(rows: Sequence[int], outputs: Sequence[Vectors]) -> None:
            for place, row in enumerate(rows):
                whole = outputs[0][place : place + 1].copy()
                tokens = outputs[1][place, : len(ids[row])] if len(outputs) > 1 else None
                vectors[row] = whole if tokens is None else with_spans(whole, tokens, offsets[row], spans[row])

        self._run(ids, keep)
        return [vectors[row] for row in range(len(texts))]

    def verify(self) -> None:
        """Raises ValueError when the graph does not give the vector that the original model gave of the probe."""
        cosine = float(self.embed([self._manifest.probe])[0] @ np.array(self._manifest.probe_vector))
        floor = SAME_VECTOR[self.precision]
        if not cosine >= floor:
            raise ValueError(f"the probe's vector has cosine {cosine:.6f} with the original's, not {floor}")

    def _run(self, ids: Sequence[Ids], keep: Keep) -> None:
        """Infer all, in batches of like length. What `keep` is given is another batch's after it returns."""
        batches = batches_by_length(ids)
        few = len(ids) <= ASKED_TEXTS
        requests = self._requests if few or len(batches) == 1 else self._bulk_requests

        def infer(rows: Sequence[int]) -> None:
            self._infer(rows, ids, keep, requests)

        if len(batches) == 1:
            infer(batches[0])
        else:
            list((self._workers if few else self._bulk_workers).map(infer, batches))

    def _encoded(self, texts: Sequence[str]) -> Iterator["Encoding"]:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            yield from self.tokenizer.encode_batch_fast(list(texts[start : start + TEXTS_AT_ONCE]))

    def _tokens_and_offsets(self, texts: Sequence[str]) -> tuple[list[Ids], list[Offsets]]:
        ids, offsets = [], []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            for encoding in self.tokenizer.encode_batch(list(texts[start : start + TEXTS_AT_ONCE])):
                ids.append(self._truncated(np.array(encoding.ids, dtype=np.int32)))
                offsets.append(self._truncated(np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)))
        return ids, offsets

    def _truncated(self, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Cut the text, not the special tokens around it. (The tokenizer is shared, so it may not truncate itself.)"""
        if len(tokens) <= self._limit:
            return tokens
        tail = self._manifest.tail_tokens
        return np.concatenate([tokens[: self._limit - tail], tokens[len(tokens) - tail :]])

    def _infer(self, rows: Sequence[int], ids: Sequence[Ids], keep: Keep, requests: "SimpleQueue[Any]") -> None:
        inputs = self._padded([ids[row] for row in rows])
        request = requests.get()
        try:
            # The outputs are the request's own memory, which the next batch overwrites.
            outputs = request.infer(inputs, share_inputs=True, share_outputs=True)
            keep(rows, [outputs[place] for place in range(len(outputs))])
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


def with_spans(whole: Vectors, tokens: Vectors, offsets: Offsets, spans: Sequence[Span]) -> Vectors:
    """A text's own vector `[1, d]`, and below it the means of its tokens `[t, d]` in each span, of length 1."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    # A token is in the span that its first character is in; special tokens are in none.
    inside = np.array([(starts >= span.start) & (starts < span.end) & (ends > starts) for span in spans])
    sums = inside.reshape(len(spans), len(tokens)).astype(np.float32) @ tokens
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.concatenate([whole, np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), whole)])


def batches_by_length(ids: Sequence[Ids]) -> list[list[int]]:
    """Rows of like length together, longest first, so that little is padding and the last to finish is small."""
    rows = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    batches, start = [], 0
    while start < len(rows):
        size = max(1, BATCH_TOKENS // max(1, len(ids[rows[start]])))
        batches.append(rows[start : start + size])
        start += size
    return batches
