"""A base in memory, with the tokenizers and adapters of the models that are served over it, and those it answers."""

import gc
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from finetune.adapter import MANIFEST, base_hash
from finetune.errors import ModelUnavailable
from finetune.model import Base, best_device, load_model
from finetune.tokenizer import load_tokenizer, longest_input
from services.engines.local.adapters import Adapters
from services.engines.local.batch import Batch
from services.engines.local.choice import Event
from services.engines.local.errand import Errand
from services.engines.local.passes import Passes
from services.engines.local.passport import check_passport
from services.engines.local.speaker import Speaker, context_tokens, end_tokens
from services.engines.local.stacks import Adapter
from services.engines.local.wanted import Asked, WantedModel
from services.engines.local.weights import Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many sequences a base goes on with at once, and what memory the adapters over it may take."""

    most_at_once: int = 16
    adapter_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A model that was asked for; `alike` is the same for tokenizers of which one can be had for the other."""

    speaker: Speaker
    stamp: int
    alike: object

    @property
    def adapter(self) -> Adapter | None:
        return self.speaker.adapter


class Loaded:
    """The weights, for one thread at a time. Raises ModelUnavailable, ModelMismatch."""

    def __init__(self, weights: Weights, limits: Limits) -> None:
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
        self._limits = limits
        self._adapters = Adapters(self.model)
        self._batch = Batch(
            Passes(self.model, self._adapters), most=limits.most_at_once, device_type=self.model.device.type
        )
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        log.info(
            "model_loaded source=%s quantization=%s dtype=%s device=%s bytes=%d seconds=%.2f",
            weights.folder, weights.quantization, weights.dtype, device, self.model.get_memory_footprint(),
            time.perf_counter() - begun,
        )  # fmt: skip

    @property
    def is_idle(self) -> bool:
        return self._batch.is_idle

    def step(self) -> None:
        """Go on a little with all who are being answered."""
        import torch

        with torch.inference_mode():
            self._batch.step()

    def join(self, errand: Errand[Event], wanted: WantedModel, asked: Asked) -> None:
        """Begin to answer a request with a model over these weights; what it adds to them is loaded if need be."""
        import torch

        with torch.inference_mode():
            self._batch.join(errand, self._known(wanted).speaker, asked)

    def close(self) -> None:
        """Let go of the weights. Nothing else is to be asked of this then."""
        import torch

        del self.model, self._adapters, self._batch
        # Modules of a model refer to one another.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info("model_let_go source=%s quantization=%s", self._weights.folder, self._weights.quantization)

    def forget(self, folder: Path) -> None:
        """Let a tuned model go. Those who are being answered by it keep what they need of it."""
        self._kept.pop(folder, None)

    def _known(self, wanted: WantedModel) -> _Kept:
        folder = wanted.folder or self._weights.folder
        stamp = _stamp(folder / (MANIFEST if wanted.manifest else "config.json"))
        kept = self._kept.get(folder)
        # A checkpoint of a step that was run again is another model under the same name.
        if kept is None or kept.stamp != stamp:
            self.forget(folder)
            kept = self._kept[folder] = self._admitted(wanted, folder, stamp)
        self._kept.move_to_end(folder)
        self._make_room(kept)
        return kept

    def _make_room(self, wanted: _Kept) -> None:
        """Let adapters go that nobody speaks with, the least recently used first, until the rest is within limits."""
        in_use = self._batch.adapters
        taken = sum(kept.adapter.size_bytes for kept in self._kept.values() if kept.adapter is not None)
        for folder, kept in list(self._kept.items()):
            if taken <= self._limits.adapter_bytes:
                return
            if kept.adapter is not None and kept is not wanted and kept.adapter.number not in in_use:
                self.forget(folder)
                taken -= kept.adapter.size_bytes

    def _admitted(self, wanted: WantedModel, folder: Path, stamp: int) -> _Kept:
        """Load what one model adds to the base, once its passport is checked."""
        begun = time.perf_counter()
        tokenizer = load_tokenizer(str(folder))
        alike: object = folder
        if wanted.manifest is not None:
            base_sha256 = self.base_sha256 if wanted.adapter else None
            check_passport(
                wanted.id, wanted.manifest, base_sha256=base_sha256, tokenizer=tokenizer, forced=wanted.forced
            )
            known = wanted.manifest
            alike = (known.tokenizer_sha256, known.template_sha256, tokenizer.model_max_length)
        # A tokenizer takes more memory than a small adapter, and those over one base are mostly the same.
        same = next((kept.speaker.tokenizer for kept in self._kept.values() if kept.alike == alike), tokenizer)
        adapter = None
        if wanted.adapter is not None:
            adapter = self._adapters.load(wanted.adapter)
            log.info("adapter_loaded model=%s seconds=%.2f", wanted.id, time.perf_counter() - begun)
        speaker = Speaker(
            tokenizer=same,
            adapter=adapter,
            generation_config=self.model.generation_config,
            ends=end_tokens(self.model, same),
            context_tokens=context_tokens(self.model, longest_input(same)),
            vocabulary=len(self.model.get_input_embeddings().weight),
        )
        return _Kept(speaker=speaker, stamp=stamp, alike=alike)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as exc:
        raise ModelUnavailable(
            f"The model's file {str(path)!r} cannot be read: {exc.strerror}.",
            hint="It may have been deleted or moved: see 'loam models list'.",
        ) from exc
