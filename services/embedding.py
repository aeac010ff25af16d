"""The embedder that the settings name, loaded at once or beside other work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from services.settings import Settings

if TYPE_CHECKING:
    from rag.ports import Embedder


def load_embedder(settings: Settings) -> "Embedder":
    """Give the embedder. Raises EmbedderUnavailable."""
    from rag.embed import open_embedder

    return open_embedder(settings.embedder, cache_dir=settings.cache, threads=settings.embedder_threads, download=True)


def begin_loading(settings: Settings) -> Callable[[], "Embedder"]:
    """Load the embedder in a thread; give what waits for it.

    Its runtime loads outside the interpreter's lock, so that a program that needs it imports the rest meanwhile.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="load-embedder")
    loading = pool.submit(load_embedder, settings)
    pool.shutdown(wait=False)
    return loading.result
