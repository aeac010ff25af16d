"""Several LoRA adapters on one base through PEFT, of which one or none is active."""

from itertools import count
from pathlib import Path
from typing import Any

from finetune.errors import ModelUnavailable


class Adapters:
    """The adapters on a base, each by its folder. For one thread at a time."""

    def __init__(self, model: Any, device: str) -> None:
        self._model = model
        self._device = device
        self._peft: Any = None
        self._names: dict[Path, str] = {}
        self._numbers = count()

    def add(self, folder: Path) -> None:
        """Load an adapter, which stays inactive. Raises ModelUnavailable unless it fits the base to the last weight."""
        from peft import PeftConfig
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        name = f"loam{next(self._numbers)}"
        try:
            config = PeftConfig.from_pretrained(str(folder))
            weights = load_peft_weights(str(folder), device=self._device)
            config.inference_mode = True
            self._put(name, config)
            fitted = set_peft_model_state_dict(self._peft, weights, adapter_name=name)
            missing = [key for key in fitted.missing_keys if f".{name}." in key]
            if missing or fitted.unexpected_keys:
                raise ValueError(f"{len(missing)} weights are missing and {len(fitted.unexpected_keys)} are of no use")
        except (OSError, ValueError, KeyError, RuntimeError) as exc:
            self._delete(name)
            line = (str(exc).splitlines() or [type(exc).__name__])[0]
            raise ModelUnavailable(f"The adapter in {str(folder)!r} cannot be put on its base: {line}") from exc
        self._names[folder] = name

    def drop(self, folder: Path) -> None:
        """Let an adapter go, if it is there."""
        if folder in self._names:
            self._delete(self._names.pop(folder))

    def activate(self, folder: Path | None) -> None:
        """Let the base speak with one adapter that was added, or for None as it is."""
        if self._peft is not None:
            active = [] if folder is None else [self._names[folder]]
            self._peft.base_model.set_adapter(active, inference_mode=True)

    def _put(self, name: str, config: Any) -> None:
        """Make room for an adapter's weights, in float32 as they were trained."""
        from peft import PeftModel

        if self._peft is None:
            self._peft = PeftModel(self._model, config, adapter_name=name)
        else:
            self._peft.add_adapter(name, config)
        # PEFT makes an adapter ready to be trained, with its dropout at work.
        self._peft.eval()

    def _delete(self, name: str) -> None:
        if self._peft is not None and name in self._peft.peft_config:
            self.activate(None)
            self._peft.delete_adapter(name)
