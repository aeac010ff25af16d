"""A tuned model's folder and its passport: what it was made from, so that nothing else is ever served as it.

A folder holds `manifest.json` beside the weights: PEFT's `adapter_model.safetensors` and `adapter_config.json`, or of
a full tuning the whole model, and in each case the tokenizer with its chat template.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MANIFEST = "manifest.json"
FORMAT = 1
SAMPLE_BYTES = 1 << 16
HEADER_BYTES = 8
"""A safetensors file begins with the length of its header (https://huggingface.co/docs/safetensors)."""


class UnknownManifest(FinetuneError):
    """A folder is not of a tuned model, or of one that a newer loam made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where a tuned model comes from. Hashes are sha256 in hex.

    `base` is the root base's directory or hub id, `base_sha256` what `base_hash` gives of it. `kind` is `adapter`,
    `full`, `reward` or `embedder`. `dtype` is what the base computed in, such as `bfloat16`. `parity` is filled in
    once serving was compared.
    """

    kind: str
    method: str
    base: str
    base_revision: str | None
    base_sha256: str
    base_license: str | None
    quantization: str
    dtype: str
    template_sha256: str | None
    tokenizer_sha256: str
    data_sha256: str
    validation_sha256: str | None
    settings: Mapping[str, Any]
    steps: int
    trained_tokens: int
    metrics: Mapping[str, float]
    plan: Mapping[str, Any] | None
    versions: Mapping[str, str]
    created_at: int
    parent: str | None = None
    parity: Mapping[str, Any] | None = None
    format: int = field(default=FORMAT)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises UnknownManifest."""
        try:
            fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if fields["format"] != FORMAT:
                raise ValueError(f"its format is {fields['format']}, and this loam knows {FORMAT}")
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise UnknownManifest(
                f"{str(folder)!r} cannot be used as a tuned model: {exc}.",
                hint="Give a folder that a tuning job of this loam has made.",
            ) from exc

    def write(self, folder: Path) -> None:
        """Write the manifest whole: it is there or it is not."""
        beside = folder / f"{MANIFEST}.new"
        beside.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(folder / MANIFEST)


def base_hash(folder: Path) -> str:
    """Identify a model's weights and shape in milliseconds, whatever their size.

    Hashes `config.json` and of every safetensors file its name, size, header, and the first, middle and last 64 KiB
    of the tensors: another training, quantization or revision of the model changes all of these but the names.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            header = int.from_bytes(file.read(HEADER_BYTES), "little")
            digest.update(file.read(min(header, size)))
            data = HEADER_BYTES + header
            for start in (data, (data + size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
                file.seek(max(data, start))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Identify how text becomes token ids, special tokens and the BOS rule included; the chat template is not."""
    special = json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str)
    return hashlib.sha256(f"{tokenizer.backend_tokenizer.to_str()}\n{special}".encode()).hexdigest()
