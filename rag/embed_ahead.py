"""Embeds in threads of its own, so that what is next is read, and what is done is stored, meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from rag.ports import Embedder, VectorCache, VectorKey, Vectors
from rag.sentences import sentences

# Of many windows so many are embedded at a time: a second or two of work.
WINDOWS_AT_ONCE = 256

# While some are computed the next are made tokens of, so that the embedder does not wait for them.
AT_ONCE = 2

Checkpoint: TypeAlias = Callable[[], None]

_Part: TypeAlias = Future[Mapping[VectorKey, Vectors]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Texts that are being embedded: under each one's key the part of the work that gives its vectors."""

    parts: Mapping[VectorKey, _Part]

    def result(self) -> dict[VectorKey, Vectors]:
        """Wait for them; give `float32 [1 + sentences, dimensions]` for each. Raises what a checkpoint raised."""
        return {key: part.result()[key] for key, part in self.parts.items()}


class AheadEmbedder:
    """Embeds groups of texts, in the order they are given.

    `checkpoint` is called in its threads before some windows and the next; what it raises is raised by its group's
    result.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache, checkpoint: Checkpoint) -> None:
        self._embedder, self._cache, self._checkpoint = embedder, cache, checkpoint
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="embed-ahead")
        self._before = Group(parts={})

    def start(self, texts: Mapping[VectorKey, str]) -> Group:
        """Have those embedded that are not known.

        Texts that the group before has too are taken from there, since that may not be stored yet. Every group earlier
        has to be.
        """
        shared = {key: part for key, part in self._before.parts.items() if key in texts}
        known = self._cache.known(list(texts))
        wanted = [key for key in texts if key not in known and key not in shared]
        group = Group(parts=shared | self._parts(wanted, texts))
        self._before = group
        return group

    def close(self) -> None:
        """Give up what is not begun, and return when the threads have ended."""
        self._threads.shutdown(cancel_futures=True)

    def _parts(self, wanted: Sequence[VectorKey], texts: Mapping[VectorKey, str]) -> dict[VectorKey, _Part]:
        parts: dict[VectorKey, _Part] = {}
        for start in range(0, len(wanted), WINDOWS_AT_ONCE):
            keys = wanted[start : start + WINDOWS_AT_ONCE]
            parts |= dict.fromkeys(keys, self._threads.submit(self._embed, {key: texts[key] for key in keys}))
        return parts

    def _embed(self, texts: Mapping[VectorKey, str]) -> Mapping[VectorKey, Vectors]:
        self._checkpoint()
        given = list(texts.values())
        vectors = self._embedder.embed_spans(given, [sentences(text) for text in given])
        return dict(zip(texts, vectors, strict=True))
