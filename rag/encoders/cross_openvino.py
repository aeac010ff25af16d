"""The cross-encoder that runs an exported graph with OpenVINO: the query path, free of torch.

A graph folder, as `rag.encoders.cross_export` writes it, holds `graph.xml`, `graph.bin`, `tokenizer.json` and
`manifest.json`. The graph gives a pair's logits. Letters of shapes: n pairs, w windows of a pair, l labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from rag.encoders.cross_windows import Pair, PairWindow, Side, pair_windows
from rag.encoders.graph import Graph
from rag.encoders.graph_folder import read_manifest, write_manifest
from rag.ports import Vectors

SAME_LOGIT = {"f32": 0.005, "bf16": 0.1}
"""By precision: by how much two logits may differ and be the same but for rounding, as a share of what is above 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairManifest:
    """What a cross-encoder's graph folder says of itself.

    `precision` is what it computes in: f32 or bf16. `limit` is the longest pair in tokens, special ones counted.
    `probe_logits` [n, l] are the original model's of the pairs `probes`; `sizes` are those of the files, in bytes.
    """

    precision: str
    labels: Sequence[str]
    limit: int
    pad_id: int
    inputs: Sequence[str]
    probes: Sequence[Sequence[str]]
    probe_logits: Sequence[Sequence[float]]
    sizes: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> "PairManifest":
        """Raises OSError or ValueError when a file is missing, cut short or not readable."""
        return cls(**read_manifest(folder))

    def write(self, folder: Path) -> None:
        write_manifest(folder, asdict(self))


class OpenVinoCrossEncoder:
    """Reads pairs on the CPU, from any number of threads at once."""

    def __init__(self, folder: Path, *, name: str, id: str, threads: int | None = None) -> None:
        from tokenizers import Tokenizer

        self.name = name
        self.id = id
        self._manifest = PairManifest.read(folder)
        self.labels = tuple(self._manifest.labels)
        self.limit = self._manifest.limit
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._graph = Graph(
            folder,
            precision=self._manifest.precision,
            inputs=self._manifest.inputs,
            pad_id=self._manifest.pad_id,
            limit=self.limit,
            threads=threads,
        )

    def logits(self, pairs: Sequence[Pair], *, long: Side = 1) -> list[Vectors]:
        """Give for each pair `float32 [w, l]`: the logits of its windows, one at least, in order."""
        windows = pair_windows(pairs, self.tokenizer, limit=self.limit, long=long)
        joined = [self.tokenizer.post_process(*window.texts) for window in windows]
        logits = np.empty((len(windows), len(self.labels)), dtype=np.float32)

        def keep(rows: Sequence[int], outputs: Sequence[Vectors]) -> None:
            logits[rows] = outputs[0]

        ids = [np.array(one.ids, dtype=np.int32) for one in joined]
        self._graph.run(ids, keep, [np.array(one.type_ids, dtype=np.int32) for one in joined])
        return by_pair(windows, logits)

    def verify(self) -> None:
        """Raises ValueError when the graph does not give the logits that the original model gave of the probes."""
        given = np.concatenate(self.logits([(first, second) for first, second in self._manifest.probes]))
        difference = logit_difference(given, np.array(self._manifest.probe_logits, dtype=np.float32))
        if not difference <= (most := SAME_LOGIT[self._manifest.precision]):
            raise ValueError(f"the probes' logits differ from the original's by {difference:.4f}, not {most} at most")


def logit_difference(given: Vectors, expected: Vectors) -> float:
    """The largest difference, of logits above 1 as a share of them."""
    return float((np.abs(given - expected) / np.maximum(1, np.abs(expected))).max())


def by_pair(windows: Sequence[PairWindow], logits: Vectors) -> list[Vectors]:
    """Part the windows' logits `[windows, l]` by the pairs that they are of."""
    counts = [len(list(of_one)) for _, of_one in groupby(windows, key=lambda window: window.pair)]
    return np.split(logits, np.cumsum(counts)[:-1]) if counts else []
