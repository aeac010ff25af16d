"""Embeds in a thread of its own, so that what is next is read, and what is done is stored, meanwhile."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from rag.ports import Embedder, VectorCache, VectorKey, Vectors
from rag.sentences import sentences

# Of many windows so many are embedded at a time: a second or two of work.
WINDOWS_AT_ONCE = 128

Checkpoint: TypeAlias = Callable[[], None]


class AheadEmbedder:
    """Embeds groups of texts, one group after the other in the order they are given.

    `checkpoint` is called in that thread between some windows and the next; what it raises ends the group, and the
    group's result raises it. A group's result holds vectors of the group before it too, where they share texts: when
    its turn came these may not have been stored. Those of any group earlier have to be.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache, checkpoint: Checkpoint) -> None:
        self._embedder, self._cache, self._checkpoint = embedder, cache, checkpoint
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed-ahead")
        self._before: Mapping[VectorKey, Vectors] = {}
        self._closed = threading.Event()

    def start(self, texts: Mapping[VectorKey, str]) -> Future[Mapping[VectorKey, Vectors]]:
        """Have those embedded that are not known; give `float32 [1 + sentences, dimensions]` for each."""
        return self._thread.submit(self._embed, texts)

    def close(self) -> None:
        """Give up what is not done, and return when the thread has ended."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)

    def _embed(self, texts: Mapping[VectorKey, str]) -> Mapping[VectorKey, Vectors]:
        vectors = {key: self._before[key] for key in texts if key in self._before}
        known = self._cache.known(list(texts))
        wanted = [key for key in texts if key not in known and key not in vectors]
        for start in range(0, len(wanted), WINDOWS_AT_ONCE):
            if self._closed.is_set():
                break
            self._checkpoint()
            keys = wanted[start : start + WINDOWS_AT_ONCE]
            some = [texts[key] for key in keys]
            spans = [sentences(text) for text in some]
            vectors.update(zip(keys, self._embedder.embed_spans(some, spans), strict=True))
        self._before = vectors
        return vectors
