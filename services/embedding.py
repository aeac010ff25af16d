"""Embedders opened as the settings say: the one that they name, at once or beside other work, and tuned ones."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from services.settings import Settings

if TYPE_CHECKING:
    from rag.ports import Embedder


def load_embedder(settings: Settings) -> "Embedder":
    """Give the embedder. Raises EmbedderUnavailable."""
    return _open(settings, settings.embedder, download=True)


def open_named(settings: Settings, name: str) -> "Embedder":
    """Give the embedder that a store names, as the settings did once, from this machine. Raises EmbedderUnavailable."""
    return _open(settings, name)


def open_tuned(settings: Settings, folder: Path, name: str) -> "Embedder":
    """Give the tuned embedder in a folder, under its model's name. Raises EmbedderUnavailable."""
    return _open(settings, str(folder), name=name)


def _open(settings: Settings, source: str, *, name: str | None = None, download: bool = False) -> "Embedder":
    from rag.encoders.embed import open_embedder
    from rag.encoders.embed_shared import SharedEmbedder

    opened = open_embedder(
        source,
        cache_dir=settings.cache,
        threads=settings.embedder_threads,
        precision=settings.embedder_precision,
        name=name,
        download=download,
    )
    return SharedEmbedder(opened)


def begin_loading(settings: Settings) -> Callable[[], "Embedder"]:
    """Load the embedder in a thread; give what waits for it.

    Its runtime loads outside the interpreter's lock, so that a program that needs it imports the rest meanwhile.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="load-embedder")
    loading = pool.submit(load_embedder, settings)
    pool.shutdown(wait=False)
    return loading.result
