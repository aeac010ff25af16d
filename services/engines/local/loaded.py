"""A base in memory, with the tokenizers and adapters of the models that are served over it."""

import gc
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.adapter import MANIFEST, base_hash
from finetune.errors import ModelUnavailable
from finetune.model import Base, best_device, load_model
from finetune.tokenizer import load_tokenizer, longest_input
from services.engines.local.adapters import Adapters
from services.engines.local.decode import context_tokens, end_tokens
from services.engines.local.passport import check_passport
from services.engines.local.wanted import WantedModel
from services.engines.local.weights import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

MOST_TUNED = 16
"""Tuned models over one base that are kept at once; the least recently used is let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A model ready to answer: its weights with the right adapter active, and its tokenizer."""

    model: Any
    tokenizer: "PreTrainedTokenizerBase"
    ends: frozenset[int]
    context_tokens: int | None


@dataclass(frozen=True, slots=True)
class _Kept:
    tokenizer: "PreTrainedTokenizerBase"
    stamp: int


class Loaded:
    """The weights, for one thread at a time. Raises ModelUnavailable, ModelMismatch."""

    def __init__(self, weights: Weights) -> None:
        import torch
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        begun = time.perf_counter()
        device = best_device()
        self.base_sha256 = base_hash(weights.folder)
        self.model = load_model(
            Base(source=str(weights.folder)),
            quantization="nf4" if weights.quantization == "nf4" else "none",
            device=device,
            dtype=getattr(torch, weights.dtype),
        )
        self._weights = weights
        self._adapters = Adapters(self.model, device)
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        log.info(
            "model_loaded source=%s quantization=%s dtype=%s device=%s bytes=%d seconds=%.2f",
            weights.folder, weights.quantization, weights.dtype, device, self.model.get_memory_footprint(),
            time.perf_counter() - begun,
        )  # fmt: skip

    def speaker(self, wanted: WantedModel) -> Speaker:
        """Give a model over these weights, good until the next is given; what it adds to them is loaded if need be."""
        tokenizer = self._tokenizer(wanted)
        self._adapters.activate(wanted.adapter)
        return Speaker(
            model=self.model,
            tokenizer=tokenizer,
            ends=end_tokens(self.model, tokenizer),
            context_tokens=context_tokens(self.model, longest_input(tokenizer)),
        )

    def close(self) -> None:
        """Let go of the weights. Nothing else is to be asked of this then."""
        import torch

        del self.model, self._adapters
        # Modules of a model refer to one another.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info("model_let_go source=%s quantization=%s", self._weights.folder, self._weights.quantization)

    def forget(self, folder: Path) -> None:
        """Let a tuned model go."""
        self._kept.pop(folder, None)
        self._adapters.drop(folder)

    def _tokenizer(self, wanted: WantedModel) -> "PreTrainedTokenizerBase":
        folder = wanted.folder or self._weights.folder
        stamp = _stamp(folder / (MANIFEST if wanted.manifest else "config.json"))
        kept = self._kept.get(folder)
        # A checkpoint of a step that was run again is another model under the same name.
        if kept is None or kept.stamp != stamp:
            self.forget(folder)
            kept = self._kept[folder] = _Kept(self._admitted(wanted, folder), stamp)
        self._kept.move_to_end(folder)
        while len(self._kept) > MOST_TUNED:
            self.forget(next(iter(self._kept)))
        return kept.tokenizer

    def _admitted(self, wanted: WantedModel, folder: Path) -> "PreTrainedTokenizerBase":
        """Load what one model adds to the base, once its passport is checked."""
        begun = time.perf_counter()
        tokenizer = load_tokenizer(str(folder))
        if wanted.manifest is not None:
            base_sha256 = self.base_sha256 if wanted.adapter else None
            check_passport(wanted.id, wanted.manifest, base_sha256=base_sha256, tokenizer=tokenizer)
        if wanted.adapter is not None:
            self._adapters.add(wanted.adapter)
            log.info("adapter_loaded model=%s seconds=%.2f", wanted.id, time.perf_counter() - begun)
        return tokenizer


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as exc:
        raise ModelUnavailable(
            f"The model's file {str(path)!r} cannot be read: {exc.strerror}.",
            hint="It may have been deleted or moved: see 'loam models list'.",
        ) from exc
