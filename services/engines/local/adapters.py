"""LoRA adapters over one base, mixed within a pass: each span of its tokens is changed by its own.

A layer's change is what PEFT computes, `x A^T B^T * scaling` in the adapter's own dtype, span by span: at the ranks of
adapters that costs less than putting the adapters of a pass together first. The base's layers stay as they are but for
a hook, and an adapter takes the memory of its weights, for as long as somebody holds it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.errors import ModelUnavailable, sentence_of

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
"""What PEFT's names of weights begin with."""

BEYOND = ("use_dora", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern", "target_parameters",
          "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "use_qalora", "use_bdlora",
          "arrow_config", "kasa_config")  # fmt: skip
"""Settings of PEFT's that make an adapter more than two matrices a layer."""

Pair: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""A [in, rank], a view of what was [rank, in], and B [rank, out]: so products with few tokens take the least time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """An adapter in memory: its weights by the names of the base's layers. `number` is never given twice."""

    number: int
    scaling: float
    weights: Mapping[str, Pair]

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for pair in self.weights.values() for part in pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """So many of the tokens of a pass, behind those of the span before, and the adapter that changes them, if any."""

    tokens: int
    adapter: Adapter | None


class Adapters:
    """Reads adapters for a base and lets its layers speak with them. For one thread at a time."""

    def __init__(self, model: Any) -> None:
        self._modules: dict[str, Any] = dict(model.named_modules())
        self._device = model.device
        self._hooked: set[str] = set()
        self._spoken: Mapping[int, _Spoken] = {}
        self._numbers = count(1)

    def load(self, folder: Path) -> Adapter:
        """Read an adapter. Raises ModelUnavailable unless it fits the base to the last weight."""
        from peft import PeftConfig
        from peft.utils import load_peft_weights

        try:
            config = PeftConfig.from_pretrained(str(folder))
            pairs = self._fitting(config, load_peft_weights(str(folder), device=str(self._device)))
        except (OSError, ValueError, KeyError, RuntimeError) as exc:
            raise ModelUnavailable(
                f"The adapter in {str(folder)!r} cannot be put on its base: {sentence_of(exc)}"
            ) from exc
        for name in pairs.keys() - self._hooked:
            self._modules[name].register_forward_hook(self._hook(name))
            self._hooked.add(name)
        return Adapter(number=next(self._numbers), scaling=_scaling(config), weights=pairs)

    @contextmanager
    def speaking(self, spans: Sequence[Span], kept: Sequence[Span]) -> Iterator[None]:
        """Let adapters speak: of all tokens of a pass in most layers, of those that are kept in the last."""
        self._spoken = {spoken.tokens: spoken for spoken in (_spoken(kept), _spoken(spans)) if spoken.adapters}
        try:
            yield
        finally:
            self._spoken = {}

    def _hook(self, name: str) -> Any:
        def change(module: Any, args: tuple[Any, ...], output: "torch.Tensor") -> None:
            if not self._spoken:
                return
            given = args[0].reshape(-1, args[0].shape[-1])
            spoken = self._spoken.get(len(given))
            if spoken is not None:
                changed = output.view(-1, output.shape[-1])
                spoken.change(name, module, given, changed)

        return change

    def _fitting(self, config: Any, weights: "Mapping[str, torch.Tensor]") -> dict[str, Pair]:
        """Pair the weights. Raises ValueError."""
        from peft.tuners.tuners_utils import check_target_module_exists

        beyond = [name for name in BEYOND if getattr(config, name, None)]
        if beyond or config.peft_type != "LORA" or config.bias != "none":
            raise ValueError(f"it is more than a plain LoRA adapter ({', '.join(beyond) or config.peft_type})")
        targets = {name for name in self._modules if check_target_module_exists(config, name) is True}
        expected = {f"{PREFIX}{name}.lora_{part}.weight" for name in targets for part in "AB"}
        missing, unexpected = expected - weights.keys(), weights.keys() - expected
        if missing or unexpected:
            raise ValueError(f"{len(missing)} weights are missing and {len(unexpected)} are of no use")
        pairs = {
            name: (weights[f"{PREFIX}{name}.lora_A.weight"], weights[f"{PREFIX}{name}.lora_B.weight"])
            for name in targets
        }
        for name, (first, second) in pairs.items():
            module = self._modules[name]
            shape = (module.in_features, module.out_features) if hasattr(module, "in_features") else module.weight.shape
            if (first.shape[1], second.shape[0], first.shape[0]) != (*shape, second.shape[1]):
                raise ValueError(f"its weights for {name!r} are of another shape")
        return {name: (first.T, second.T.contiguous()) for name, (first, second) in pairs.items()}


def _scaling(config: Any) -> float:
    return float(config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """Spans as a layer's hook needs them, which runs some hundred times in a pass; those without tokens are left out.

    `adapters` is empty if none changes anything.
    """

    tokens: int
    sizes: Sequence[int]
    adapters: Sequence[Adapter | None]

    def change(self, name: str, module: Any, given: "torch.Tensor", changed: "torch.Tensor") -> None:
        """Change in place what a layer gave [tokens, out] for what it was given [tokens, in]."""
        parts = zip(self.adapters, given.split(self.sizes), changed.split(self.sizes), strict=True)
        for adapter, taken, part in parts:
            if adapter is not None and (pair := adapter.weights.get(name)) is not None:
                _change(module, taken, part, pair, adapter.scaling)


def _spoken(spans: Sequence[Span]) -> _Spoken:
    spans = [span for span in spans if span.tokens]
    adapters = [span.adapter for span in spans]
    return _Spoken(
        tokens=sum(span.tokens for span in spans),
        sizes=[span.tokens for span in spans],
        adapters=adapters if any(adapters) else (),
    )


def _change(module: Any, given: "torch.Tensor", changed: "torch.Tensor", pair: Pair, scaling: float) -> None:
    """Add an adapter's part to what a layer gave, in place, rounded as PEFT rounds it."""
    first, second = pair
    if given.dtype == changed.dtype == first.dtype:
        changed.addmm_(given.mm(first), second, alpha=scaling)
        return
    part = given.to(first.dtype).mm(first) @ second * scaling
    # Over quantized weights PEFT rounds the change before it is added, otherwise only the sum.
    changed.add_(part.to(changed.dtype) if hasattr(module.weight, "quant_state") else part)
