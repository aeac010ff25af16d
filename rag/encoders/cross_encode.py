"""Open a cross-encoder: a model that reads two texts together, and says how they stand to each other.

The first opening exports its graph in a process of its own. Where OpenVINO is missing or the graph is not what the
model computes, sentence-transformers itself runs it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rag.encoders.cross_source import CROSS_ENCODER
from rag.encoders.cross_windows import Pair, Side
from rag.encoders.graph_folder import GraphUnusable, opened, openvino_is_there
from rag.encoders.model_source import ModelSource, locate
from rag.errors import CrossEncoderUnavailable
from rag.ports import Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

GRAPH_FORMAT = 2
"""Counts up when the graph, or what lies beside it, changes: older ones are then exported anew."""


class CrossEncoder(Protocol):
    """Reads pairs of texts. A text that is too long is read in windows; letters of shapes: w windows, l labels."""

    @property
    def name(self) -> str:
        """The model's public name, e.g. `ms-marco-MiniLM-L6-v2`."""

    @property
    def id(self) -> str:
        """Name and weights."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the logits are of, in order."""

    @property
    def tokenizer(self) -> "Tokenizer":
        """The model's own tokenizer, without truncation or padding."""

    def logits(self, pairs: Sequence[Pair], *, long: Side = 1) -> list[Vectors]:
        """Give for each pair `float32 [w, l]`: the logits of its windows, one at least, in order.

        `long` is the text of a pair that is read to its end.
        """


def open_cross_encoder(
    source: str, *, cache_dir: Path, threads: int | None = None, download: bool = False
) -> CrossEncoder:
    """The cross-encoder named `source`: a model's name, a hub id, or a directory.

    Graphs are kept in `cache_dir`. `threads` bounds the cores it computes on; all by default. Only with `download` is
    the hub asked for a model that is not on this machine. Raises CrossEncoderUnavailable.
    """
    found = locate(CROSS_ENCODER, source, cache_dir=cache_dir, download=download)
    try:
        return _open_graph(found, cache_dir, threads)
    except GraphUnusable as exc:
        reason = str(exc)
    except OSError as exc:
        reason = f"the cache {str(cache_dir)!r} cannot be used: {exc}"
    log.warning("cross_encoder_fallback source=%s runtime=sentence-transformers reason=%r", source, reason)
    return _open_original(found)


def _open_original(source: ModelSource) -> CrossEncoder:
    try:
        from rag.encoders.cross_torch import TorchCrossEncoder

        return TorchCrossEncoder(source.folder, name=source.name, id=source.id)
    except Exception as exc:  # whatever torch, transformers or the model's own files raise
        raise CrossEncoderUnavailable(
            f"The cross-encoder in {str(source.folder)!r} cannot be loaded: {exc}.",
            hint="Check that sentence-transformers can load it, and that it is whole.",
        ) from exc


def _open_graph(source: ModelSource, cache_dir: Path, threads: int | None) -> CrossEncoder:
    if not openvino_is_there():
        raise GraphUnusable("openvino is not installed")
    from rag.encoders.cross_openvino import OpenVinoCrossEncoder
    from rag.encoders.graph import float_precision

    def load(folder: Path) -> OpenVinoCrossEncoder:
        model = OpenVinoCrossEncoder(folder, name=source.name, id=source.id, threads=threads)
        model.verify()
        return model

    precision = float_precision()
    folder = cache_dir / f"{source.weights[:12]}-{source.settings[:8]}-pairs{GRAPH_FORMAT}-{precision}"
    return opened(folder, load, exporter="rag.encoders.cross_export", source=source.folder, precision=precision)
