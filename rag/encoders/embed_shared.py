"""One embedder for many callers at once: texts that come while it computes are computed together next.

There is no timer: who comes while nobody computes computes at once, alone, in its own thread. A batch is what has
queued while the one before it ran, so it is as large as the load makes it.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.ports import Embedder, Vectors
from rag.sentences import Span

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FEW_TEXTS = 8
"""Longer lists are batches by themselves, and whoever asks one question shall not wait for them."""

MOST_TEXTS = 64


class SharedEmbedder:
    """An Embedder over another that computes the short lists of several threads as one."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._computing = False

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def id(self) -> str:
        return self._embedder.id

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    @property
    def tokenizer(self) -> "Tokenizer":
        return self._embedder.tokenizer

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Give what the embedder gives of these texts, and raise what it raises of them and no one else's."""
        if not 0 < len(texts) <= FEW_TEXTS:
            return self._embedder.embed(texts)
        request = _Request(texts)
        if self._has_to_wait(request):
            request.wait()
        if request.answer is None:
            self._compute_with_others(request)
        assert request.answer is not None, "whoever leads has answered itself"
        if isinstance(request.answer, Exception):
            raise request.answer
        return request.answer

    def embed_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Vectors]:
        """Give what the embedder gives: whoever has spans ingests, and comes with many texts."""
        return self._embedder.embed_spans(texts, spans)

    def _has_to_wait(self, request: "_Request") -> bool:
        with self._lock:
            if self._computing:
                self._waiting.append(request)
                return True
            self._computing = True
            return False

    def _compute_with_others(self, request: "_Request") -> None:
        """Answer a request with those that wait; then, however that went, the next that waits does the same."""
        batch = [request, *self._taken(MOST_TEXTS - len(request.texts))]
        try:
            self._answer(batch)
        finally:
            unanswered = [other for other in batch[1:] if other.answer is None]
            with self._lock:
                # Only an interrupt of this thread leaves any.
                self._waiting.extendleft(reversed(unanswered))
                following = self._waiting.popleft() if self._waiting else None
                self._computing = following is not None
            if following is not None:
                following.wake()
            for other in batch[1:]:
                if other.answer is not None:
                    other.wake()

    def _taken(self, texts: int) -> "list[_Request]":
        taken = []
        with self._lock:
            while self._waiting and len(self._waiting[0].texts) <= texts:
                taken.append(self._waiting.popleft())
                texts -= len(taken[-1].texts)
        return taken

    def _answer(self, batch: "Sequence[_Request]") -> None:
        # Many ask the same at once.
        rows = {text: row for row, text in enumerate(dict.fromkeys(text for one in batch for text in one.texts))}
        try:
            vectors = self._embedder.embed(list(rows))
        except Exception as exc:
            if len(batch) == 1:
                batch[0].answer = exc
                return
            # Whose texts it was shows when each is computed alone.
            for request in batch:
                self._answer([request])
            return
        for request in batch:
            request.answer = vectors[[rows[text] for text in request.texts]]


class _Request:
    """Some texts, and in the end their vectors or what went wrong."""

    __slots__ = ("_asleep", "answer", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.answer: Vectors | Exception | None = None
        # A lock that is taken twice is the cheapest way to sleep once.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        """Sleep until there is an answer, or until this one is to find it."""
        self._asleep.acquire()

    def wake(self) -> None:
        self._asleep.release()
