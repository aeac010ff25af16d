"""LoRA adapters over one base, mixed within a pass: each span of its tokens is changed by its own.

A layer's change is what PEFT computes, `x A^T B^T * scaling` in the adapter's own dtype. The base's layers stay as they
are but for a hook.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ModelUnavailable, sentence_of
from services.engines.local.runs import Run, Span, runs_of
from services.engines.local.stacks import Adapter, Pair, Stacks

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
"""What PEFT's names of weights begin with."""

BEYOND = ("use_dora", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern", "target_parameters",
          "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "use_qalora", "use_bdlora",
          "arrow_config", "kasa_config")  # fmt: skip
"""Settings of PEFT's that make an adapter more than two matrices a layer."""


class Adapters:
    """Reads adapters for a base and lets its layers speak with them. For one thread at a time."""

    def __init__(self, model: Any) -> None:
        self._modules: dict[str, Any] = dict(model.named_modules())
        self._device = model.device
        self._hooked: set[str] = set()
        self._runs: Mapping[int, Sequence[Run]] = {}
        self._stacks = Stacks()

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
        return self._stacks.add(_scaling(config), pairs)

    @contextmanager
    def speaking(self, spans: Sequence[Span], kept: Sequence[Span]) -> Iterator[None]:
        """Let adapters speak: of all tokens of a pass in most layers, of those that are kept in the last."""
        self._stacks.tidy()
        counts = {sum(span.tokens for span in some): some for some in (kept, spans)}
        self._runs = {count: runs_of(some, self._device) for count, some in counts.items()}
        try:
            yield
        finally:
            self._runs = {}

    def _hook(self, name: str) -> Any:
        def change(module: Any, args: tuple[Any, ...], output: "torch.Tensor") -> None:
            width = args[0].shape[-1]
            runs = self._runs.get(args[0].numel() // width)
            if runs:
                given, changed = args[0].reshape(-1, width), output.view(-1, output.shape[-1])
                for run in runs:
                    run.change(name, module, given, changed)

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
        return {name: (first, second.T.contiguous()) for name, (first, second) in pairs.items()}


def _scaling(config: Any) -> float:
    return float(config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r))
