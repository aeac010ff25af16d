"""Open an embedder: find its weights, see that their graph is in the cache, and load it.

The first opening of a model exports its graph in a process of its own (some 15 s). Where OpenVINO is missing or the
graph is not what the model computes, sentence-transformers itself is the embedder.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rag.encoders.embed_source import find_source
from rag.encoders.graph_folder import GraphUnusable, opened, openvino_is_there
from rag.encoders.model_source import ModelSource
from rag.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from rag.ports import Embedder

log = logging.getLogger(__name__)

GRAPH_FORMAT = 4
"""Counts up when the graph, or what lies beside it, changes: older ones are then exported anew."""


def open_embedder(
    source: str,
    *,
    cache_dir: Path,
    threads: int | None = None,
    download: bool = False,
    precision: str | None = None,
    name: str | None = None,
) -> "Embedder":
    """The embedder named `source`: a model's name, a hub id, or a directory. `name` is what it is to be called.

    Graphs are kept in `cache_dir`. `threads` bounds the cores it computes on; all by default. Only with `download` is
    the hub asked for a model that is not on this machine. `precision` is f32, bf16 or int8, by default the fastest that
    finds the same passages on this CPU; so is int8 where the CPU lacks VNNI. Raises EmbedderUnavailable.
    """
    found = find_source(source, cache_dir=cache_dir, download=download, name=name)
    try:
        return _open_graph(found, cache_dir, threads, precision)
    except GraphUnusable as exc:
        reason = str(exc)
    except OSError as exc:
        reason = f"the cache {str(cache_dir)!r} cannot be used: {exc}"
    log.warning("embedder_fallback source=%s runtime=sentence-transformers reason=%r", source, reason)
    return _open_original(found)


def _open_original(source: ModelSource) -> "Embedder":
    try:
        from rag.encoders.embed_torch import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(source.folder, name=source.name, id=source.id)
    except Exception as exc:  # whatever torch, transformers or the model's own files raise
        raise EmbedderUnavailable(
            f"The embedder in {str(source.folder)!r} cannot be loaded: {exc}.",
            hint="Check that it is a sentence-transformers model and whole.",
        ) from exc


def _open_graph(source: ModelSource, cache_dir: Path, threads: int | None, precision: str | None) -> "Embedder":
    if not openvino_is_there():
        raise GraphUnusable("openvino is not installed")
    from rag.encoders.embed_openvino import OpenVinoEmbedder
    from rag.encoders.graph import default_precision, multiplies_bytes

    if precision is None or (precision == "int8" and not multiplies_bytes()):
        precision = default_precision()

    def load(folder: Path) -> OpenVinoEmbedder:
        embedder = OpenVinoEmbedder(folder, name=source.name, id=source.id, threads=threads)
        embedder.verify()
        return embedder

    folder = cache_dir / f"{source.weights[:12]}-{source.settings[:8]}-{GRAPH_FORMAT}-{precision}"
    return opened(folder, load, exporter="rag.encoders.embed_export", source=source.folder, precision=precision)
