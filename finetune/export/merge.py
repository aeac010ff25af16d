"""Writes a tuned model out in one piece: its base with the adapter added in.

What an adapter was trained over is what it is added to. Over an NF4 base that is the dequantized weights, not the
checkpoint's own, from which they differ by more than many an adapter changes them. Sums are made in float32 and
rounded once. What no adapter touches is passed on tensor by tensor under the checkpoint's own names, so that besides
the served model only one shard is in memory.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.adapter import Manifest, base_hash
from finetune.errors import ExportFailed
from finetune.model import Base, load_model
from finetune.source import locate
from finetune.train.lora import ADAPTER

if TYPE_CHECKING:
    import torch

Told: TypeAlias = Callable[[str, float], None]
"""Told of a stage how far it has come, from 0 to 1."""

SHARD_BYTES = 4 << 30
WRITING = "Writing weights"
_BEYOND_LORA = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A tuned model as it is served, and `folder`, where the checkpoint lies that it was made from."""

    model: Any
    folder: Path


def checkpoint_of(folder: Path, manifest: Manifest) -> Path:
    """Give the folder of the weights that a tuned model is made from, which may be its own.

    Raises ModelUnavailable, and ExportFailed if the base is another by now.
    """
    if manifest.kind == "full":
        return folder
    base = locate(Base(source=manifest.base, revision=manifest.base_revision)).folder
    if base_hash(base) != manifest.base_sha256:
        raise ExportFailed(
            f"The base {manifest.base!r} is not the one that this model was tuned over.",
            hint="Bring back the files it had, or tune again over those it has now.",
        )
    if "quantization_config" in json.loads((base / "config.json").read_text(encoding="utf-8")):
        raise ExportFailed(
            f"The checkpoint of {manifest.base!r} is quantized itself, and holds no plain weights to add to.",
            hint="Export the adapter alone (--adapter).",
        )
    return base


def open_tuned(folder: Path, checkpoint: Path, manifest: Manifest, *, device: str) -> Opened:
    """Load a tuned model as it is served. Raises ModelUnavailable, ExportFailed."""
    import torch
    from peft import PeftModel

    model: Any = load_model(
        Base(source=str(checkpoint)),
        quantization="nf4" if manifest.quantization == "nf4" else "none",
        device=device,
        dtype=getattr(torch, manifest.dtype),
    )
    if manifest.kind == "adapter":
        model = PeftModel.from_pretrained(model, folder, adapter_name=ADAPTER).eval()
        _check_plain(model.peft_config[ADAPTER])
    return Opened(model=model, folder=checkpoint)


def sizes_of(checkpoint: Path, dtype: "torch.dtype") -> "dict[str, torch.Tensor]":
    """Give a checkpoint's tensors as they will be in `dtype`, without their values."""
    import torch

    with ExitStack() as stack:
        found = {}
        for name, file in _located(checkpoint, stack).items():
            told = file.get_slice(name)
            floating = "F" in told.get_dtype()
            kind = dtype if floating else file.get_tensor(name).dtype
            found[name] = torch.empty(told.get_shape(), dtype=kind, device="meta")
        return found


def write_merged(opened: Opened, target: Path, dtype: "torch.dtype", told: Told) -> None:
    """Write safetensors in shards, and their index if there are several. Raises ExportFailed."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    sizes = sizes_of(opened.folder, dtype)
    plan = split_torch_state_dict_into_shards(sizes, max_shard_size=SHARD_BYTES)
    total, done = sum(size.nbytes for size in sizes.values()), 0
    with ExitStack() as stack:
        merging = _Merging(opened, dtype, stack)
        for filename, names in plan.filename_to_tensors.items():
            shard = {}
            for name in names:
                shard[name] = merging.tensor(name)
                done += sizes[name].nbytes
                told(WRITING, done / total)
            save_file(shard, target / filename, metadata={"format": "pt"})
        merging.check_complete()
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        path = target / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class _Merging:
    """A checkpoint's tensors, one after the other, as they are after the tuning."""

    def __init__(self, opened: Opened, dtype: "torch.dtype", stack: ExitStack) -> None:
        self._files = _located(opened.folder, stack)
        self._dtype = dtype
        self._served_dtype = opened.model.get_input_embeddings().weight.dtype
        self._prefix = f"{_inner(opened.model).base_model_prefix}."
        self._changed = dict(_changed(opened.model))

    def tensor(self, name: str) -> "torch.Tensor":
        for known in (name, self._prefix + name, name.removeprefix(self._prefix)):
            if known in self._changed:
                return self._changed.pop(known)().to(self._dtype).cpu().contiguous()
        raw: torch.Tensor = self._files[name].get_tensor(name)
        return raw.to(self._served_dtype).to(self._dtype) if raw.is_floating_point() else raw

    def check_complete(self) -> None:
        """Raise ExportFailed if a weight that is tuned or quantized was not in the checkpoint."""
        if self._changed:
            raise ExportFailed(
                f"The base's checkpoint has no {next(iter(self._changed))!r}: it names its weights otherwise than the "
                "model does, so the two cannot be brought together.",
                hint="Export the adapter alone (--adapter) and merge it with PEFT.",
            )


def _changed(model: Any) -> "Iterator[tuple[str, Callable[[], torch.Tensor]]]":
    """Give each weight that is not the checkpoint's own, by the model's name of it, and how to work it out."""
    from bitsandbytes.nn.modules import Linear4bit
    from peft.tuners.lora import LoraLayer

    for name, module in _inner(model).named_modules():
        if isinstance(module, LoraLayer):
            yield f"{name}.weight", partial(_sum, module)
        elif isinstance(module, Linear4bit) and not name.endswith(".base_layer"):
            yield f"{name}.weight", partial(_plain, module)


def _sum(layer: Any) -> "torch.Tensor":
    return _plain(layer.get_base_layer()) + layer.get_delta_weight(ADAPTER).float()


def _plain(layer: Any) -> "torch.Tensor":
    """A layer's weight as its products are computed with, float32."""
    from bitsandbytes.functional import dequantize_4bit

    state = getattr(layer.weight, "quant_state", None)
    weight: torch.Tensor = layer.weight.data if state is None else dequantize_4bit(layer.weight.data, state)
    return weight.float()


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _check_plain(config: Any) -> None:
    beyond = [name for name in _BEYOND_LORA if getattr(config, name, None)]
    if getattr(config, "bias", "none") != "none":
        beyond.append("bias")
    if beyond:
        raise ExportFailed(
            f"The adapter changes more than LoRA does ({', '.join(beyond)}), which cannot be merged here.",
            hint="Export the adapter alone (--adapter) and merge it with PEFT.",
        )


def _located(checkpoint: Path, stack: ExitStack) -> dict[str, Any]:
    """Open a checkpoint's files, and give of each tensor the one that it is in."""
    from safetensors import safe_open

    index = checkpoint / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    files = [stack.enter_context(safe_open(checkpoint / name, framework="pt")) for name in names]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118  # it is no mapping
