"""Exports of tuned models: merged into one piece that other programs load, or the adapter as it is.

    export_merged(folder, target, name=…)    safetensors, tokenizer, chat template, model card, Ollama Modelfile
    export_adapter(folder, target, name=…)   the tuned model's own folder, with a model card

Either is whole or not there.
"""

import gc
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.adapter import Manifest, tokenizer_hash
from finetune.errors import ExportFailed
from finetune.export.fidelity import Fidelity, compare_predictions, predictions
from finetune.export.merge import Opened, Told, checkpoint_of, open_tuned, sizes_of, write_merged
from finetune.export.model_card import model_card
from finetune.export.ollama import modelfile
from finetune.model import Base, best_device, load_model
from finetune.parity.trace import Trace, read_traces
from finetune.tokenizer import load_tokenizer
from finetune.train.checkpoints import SPARE_BYTES, TRAINER_STATE
from prompts.chat_format import template_hash, template_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

README = "README.md"
MODELFILE = "Modelfile"
DTYPES: Final = ("bfloat16", "float16", "float32")
LOADING, COMPARING = "Loading", "Comparing"
_KEPT_OF_BASE = ("generation_config.json", "LICENSE*", "NOTICE*", "USE_POLICY*", "*.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written where. `fidelity` None is for want of a record of the training to compare over."""

    folder: Path
    size_bytes: int
    dtype: str | None = None
    fidelity: Fidelity | None = None


def export_merged(
    tuned: Path, target: Path, *, name: str, dtype: str | None = None, traces: Path | None = None, told: Told
) -> Exported:
    """Write a tuned model as one that plain transformers loads, and measure how near it is to the one that is served.

    `dtype` is one of DTYPES, None for what the base computes in. Raises ExportFailed, ModelUnavailable.
    """
    import torch

    manifest = Manifest.read(tuned)
    if manifest.kind not in ("adapter", "full"):
        raise ExportFailed(
            f"A {manifest.kind} model writes no text: there is nothing to merge into.",
            hint="Export it as it is (--adapter).",
        )
    dtype = dtype or manifest.dtype
    kind = getattr(torch, dtype)
    tokenizer = _unchanged_tokenizer(tuned, manifest)
    checkpoint = checkpoint_of(tuned, manifest)
    _check_space(target, sum(size.nbytes for size in sizes_of(checkpoint, kind).values()))
    recorded = read_traces(traces) if traces else []
    with _whole(target) as folder:
        told(LOADING, 0.0)
        opened = open_tuned(tuned, checkpoint, manifest, device=best_device())
        write_merged(opened, folder, kind, told)
        _write_companions(opened, tokenizer, folder, kind)
        for shard in folder.glob("*.safetensors"):
            # safetensors keeps its files from everyone else, whatever the umask.
            shutil.copymode(folder / "config.json", shard)
        told(COMPARING, 0.0)
        served = predictions(opened.model, recorded) if recorded else None
        # The two need not be in memory together.
        del opened
        fidelity = None if served is None else _fidelity(served, folder, kind, recorded)
        told(COMPARING, 1.0)
        (folder / README).write_text(model_card(name, manifest, dtype=dtype, fidelity=fidelity), encoding="utf-8")
    return Exported(folder=target, size_bytes=_size(target), dtype=dtype, fidelity=fidelity)


def export_adapter(tuned: Path, target: Path, *, name: str) -> Exported:
    """Copy a tuned model's own folder, of whatever kind, with its manifest and a card. Raises ExportFailed."""
    manifest = Manifest.read(tuned)
    _check_space(target, _size(tuned))
    with _whole(target) as folder:
        shutil.copytree(tuned, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*TRAINER_STATE))
        (folder / README).write_text(model_card(name, manifest), encoding="utf-8")
    return Exported(folder=target, size_bytes=_size(target))


def _unchanged_tokenizer(tuned: Path, manifest: Manifest) -> "PreTrainedTokenizerBase":
    """Load the tokenizer that the model was tuned with. Raises ExportFailed if it is another by now."""
    tokenizer = load_tokenizer(str(tuned))
    if (
        tokenizer_hash(tokenizer) != manifest.tokenizer_sha256
        or template_hash(template_of(tokenizer)) != manifest.template_sha256
    ):
        raise ExportFailed(
            "The tokenizer or chat template in the model's folder is not the one that it was tuned with.",
            hint="Bring back the files it had, or tune again.",
        )
    return tokenizer


def _write_companions(opened: Opened, tokenizer: "PreTrainedTokenizerBase", folder: Path, dtype: "torch.dtype") -> None:
    """Write all but the weights and the card."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(opened.folder)
    config.dtype = dtype
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for pattern in _KEPT_OF_BASE:
        for path in opened.folder.glob(pattern):
            shutil.copy(path, folder / path.name)
    options = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    ends = _ends(opened.model, tokenizer)
    written = modelfile(tokenizer, ends=ends, adds_bos=options.get("add_bos_token") is True)
    (folder / MODELFILE).write_text(written, encoding="utf-8")


def _ends(model: Any, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    named = model.generation_config.eos_token_id
    listed = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    return [tokenizer.decode([token]) for token in dict.fromkeys(listed) if isinstance(token, int)]


def _fidelity(served: "torch.Tensor", folder: Path, dtype: "torch.dtype", traces: Sequence[Trace]) -> Fidelity:
    """Load what was written as anyone would, and hold it against what is served."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    exported = load_model(Base(source=str(folder)), quantization="none", device=best_device(), dtype=dtype)
    return compare_predictions(served, predictions(exported, traces))


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes the target at the end. Raises ExportFailed if that holds anything."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportFailed(f"{str(target)!r} is there and not empty.", hint="Name a folder that is not there yet.")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _check_space(target: Path, size_bytes: int) -> None:
    existing = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size_bytes + SPARE_BYTES:
        raise ExportFailed(
            f"There is not enough disk: the model takes {size_bytes / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free.",
            hint="Free some, or name a folder on another disk.",
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
