"""What answers are held to, made ready outside the thread that writes them: compiling a large schema takes a while."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.tokenizer import load_tokenizer
from services.engines.local.calls import CallReader, Opening
from services.engines.local.constraint import Constraint
from services.engines.local.frames import Frame, frame_of
from services.engines.local.grammar import Vocabulary, answer_grammar, calls_rules, matcher_of
from services.engines.local.passport import check_passport
from services.engines.local.wanted import Asked, WantedModel
from services.engines.local.weights import Weights

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase

MOST_VOCABULARIES = 4
MOST_GRAMMARS = 64
COMPILERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What one request's answers are held to, and how calls are read out of them.

    With `waits` an answer is free until a call begins. `shown` are the tokens that calls are written with.
    """

    vocabulary: Vocabulary
    matcher: "LLMatcher"
    frame: Frame | None = None
    opening: Opening | None = None
    waits: bool = False
    shown: frozenset[int] = frozenset()

    def constraint(self, ends: frozenset[int]) -> Constraint:
        """Hold one sequence, which any of `ends` may end."""
        opening = self.opening if self.waits else None
        return Constraint(self.matcher.deep_copy, self.vocabulary.tokens, ends, opening)

    def reader(self) -> CallReader | None:
        return CallReader(self.frame, self.opening) if self.frame and self.opening else None


class Guides:
    """Keeps what was compiled: the latest grammars of the latest tokenizers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(COMPILERS, thread_name_prefix="local-grammar")
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()

    async def guide(self, wanted: WantedModel, weights: Weights, asked: Asked) -> Guide | None:
        """Give what a request's answers are held to, None where they are free. Raises BadRequest, ModelUnavailable."""
        if asked.schema is None and asked.calls is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._made, wanted, weights, asked)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _made(self, wanted: WantedModel, weights: Weights, asked: Asked) -> Guide:
        known = self._of(wanted, wanted.folder or weights.folder)
        if asked.calls is None:
            grammar = answer_grammar(schema=asked.schema, calls=None)
            return Guide(vocabulary=known.vocabulary, matcher=known.matcher(grammar, asked))
        frame = known.frame if asked.calls.parallel else known.frame.single()
        waits = asked.schema is None and not asked.calls.required
        rules = calls_rules(known.vocabulary, frame, asked.calls, marked=waits)
        grammar = answer_grammar(schema=None if asked.calls.required else asked.schema, calls=rules)
        return Guide(
            vocabulary=known.vocabulary,
            matcher=known.matcher(grammar, asked),
            frame=frame,
            opening=Opening(frame, at_start=not waits),
            waits=waits,
            shown=known.vocabulary.marks_in(frame),
        )

    def _of(self, wanted: WantedModel, folder: Path) -> "_Known":
        key: Hashable = (folder, max(path.stat().st_mtime_ns for path in folder.iterdir()))
        manifest = None if wanted.forced else wanted.manifest
        if manifest is not None:
            # Many tuned models have the tokenizer of their base.
            key = (manifest.tokenizer_sha256, manifest.template_sha256)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        tokenizer = load_tokenizer(str(folder))
        if manifest is not None:
            check_passport(wanted.id, manifest, base_sha256=None, tokenizer=tokenizer)
        known = _Known(tokenizer)
        with self._lock:
            self._known[key] = known
            while len(self._known) > MOST_VOCABULARIES:
                self._known.popitem(last=False)
        return known


class _Known:
    """A tokenizer as grammars see it, the form of its calls, and the grammars that were compiled for it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.vocabulary = Vocabulary(tokenizer)
        self._tokenizer = tokenizer
        self._frame: Frame | None = None
        self._lock = threading.Lock()
        self._matchers: OrderedDict[str, LLMatcher] = OrderedDict()

    @property
    def frame(self) -> Frame:
        """Raises ChatFormatError, BadRequest where the chat template has no form for calls."""
        self._frame = self._frame or frame_of(self._tokenizer)
        return self._frame

    def matcher(self, grammar: str, asked: Asked) -> "LLMatcher":
        """Raises BadRequest."""
        with self._lock:
            if (matcher := self._matchers.get(grammar)) is not None:
                self._matchers.move_to_end(grammar)
                return matcher
        matcher = matcher_of(self.vocabulary, grammar, "tools" if asked.calls else "response_format")
        with self._lock:
            self._matchers[grammar] = matcher
            while len(self._matchers) > MOST_GRAMMARS:
                self._matchers.popitem(last=False)
        return matcher
