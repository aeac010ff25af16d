"""Which weights a model needs in memory, so that those that are the same are loaded once."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from finetune.errors import ModelUnavailable, sentence_of
from finetune.model import Base
from finetune.source import locate
from services.engines.local.wanted import WantedModel

_IMPORTING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What is loaded once, whoever asks for it: the files in a folder, quantized or not, in a dtype (torch's name).

    `changed_ns` is when the newest of the files was written: those of another training are other weights.
    """

    folder: Path
    quantization: str
    dtype: str
    changed_ns: int = 0


def find_weights(wanted: WantedModel) -> Weights:
    """Find a model's weights; those of a hub are fetched if need be. Raises ModelUnavailable."""
    folder = _folder(wanted.base).resolve()
    return Weights(
        folder=folder,
        quantization=wanted.quantization,
        dtype=wanted.dtype or _own_dtype(folder, _changed_ns(folder / "config.json")),
        changed_ns=max((path.stat().st_mtime_ns for path in folder.glob("*.safetensors")), default=0),
    )


def _folder(base: Base) -> Path:
    folder = Path(base.source)
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        raise ModelUnavailable(
            f"There is no directory {base.source!r}, where the model's weights are to be.", hint="Bring it back."
        )
    return _fetched(base.source, base.revision)


@lru_cache(maxsize=64)
def _fetched(source: str, revision: str | None) -> Path:
    """Ask a hub once in the life of the process."""
    return locate(Base(source=source, revision=revision)).folder


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=64)
def _own_dtype(folder: Path, _changed_ns: int) -> str:
    # Of two threads that import it for the first time at once, one may find it half made.
    with _IMPORTING:
        from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder).get_text_config().dtype
    except (OSError, ValueError, KeyError) as exc:
        raise ModelUnavailable(f"The model in {str(folder)!r} cannot be loaded: {sentence_of(exc)}") from exc
    return str(found or "float32").removeprefix("torch.")
