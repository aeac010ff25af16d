"""Open an embedder: find its weights, see that their graph is in the cache, and load it.

The first opening of a model exports its graph in a process of its own (some 15 s). Where OpenVINO is missing or the
graph is not what the model computes, sentence-transformers itself is the embedder.
"""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rag.embed_source import EmbedderSource, find_source
from rag.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from rag.embed_openvino import OpenVinoEmbedder
    from rag.ports import Embedder

log = logging.getLogger(__name__)

GRAPH_FORMAT = 3
"""Counts up when the graph, or what lies beside it, changes: older ones are then exported anew."""


class GraphUnusable(Exception):
    """The model's graph could not be made or is not to be trusted."""


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


def _open_original(source: EmbedderSource) -> "Embedder":
    try:
        from rag.embed_torch import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(source.folder, name=source.name, id=source.id)
    except Exception as exc:  # whatever torch, transformers or the model's own files raise
        raise EmbedderUnavailable(
            f"The embedder in {str(source.folder)!r} cannot be loaded: {exc}.",
            hint="Check that it is a sentence-transformers model and whole.",
        ) from exc


def _open_graph(source: EmbedderSource, cache_dir: Path, threads: int | None, precision: str | None) -> "Embedder":
    if importlib.util.find_spec("openvino") is None:
        raise GraphUnusable("openvino is not installed")
    from rag.embed_openvino import default_precision, multiplies_bytes

    if precision is None or (precision == "int8" and not multiplies_bytes()):
        precision = default_precision()
    folder = cache_dir / f"{source.weights[:12]}-{source.settings[:8]}-{GRAPH_FORMAT}-{precision}"
    if embedder := _load_cached(source, folder, threads):
        return embedder
    from filelock import FileLock

    with FileLock(folder.with_suffix(".lock")):
        # Another process may have exported it while this one waited.
        if embedder := _load_cached(source, folder, threads):
            return embedder
        _export(source.folder, folder, precision)
    try:
        return _load(source, folder, threads)
    except Exception as exc:
        raise GraphUnusable(f"the graph cannot be loaded: {exc}") from exc


def _load_cached(source: EmbedderSource, folder: Path, threads: int | None) -> "OpenVinoEmbedder | None":
    if not folder.is_dir():
        return None
    try:
        return _load(source, folder, threads)
    except Exception as exc:  # OpenVINO raises all kinds over a damaged file
        log.warning("embedder_graph_damaged path=%s reason=%r", folder, str(exc))
        return None


def _load(source: EmbedderSource, folder: Path, threads: int | None) -> "OpenVinoEmbedder":
    from rag.embed_openvino import OpenVinoEmbedder

    embedder = OpenVinoEmbedder(folder, name=source.name, id=source.id, threads=threads)
    embedder.verify()
    return embedder


def _export(source: Path, folder: Path, precision: str) -> None:
    """Make the graph folder beside its place and move it there whole."""
    log.info("embedder_export source=%s path=%s", source, folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.", ignore_cleanup_errors=True) as made:
        target = Path(made) / "graph"
        target.mkdir()
        done = subprocess.run(  # noqa: S603  # this interpreter, a module of ours, and paths
            [sys.executable, "-m", "rag.embed_export", str(source), str(target), precision],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},  # all it needs is in the folder
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GraphUnusable(f"the export failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}")
        shutil.rmtree(folder, ignore_errors=True)
        target.replace(folder)
