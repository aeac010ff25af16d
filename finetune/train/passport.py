"""The manifest of what a job makes."""

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from finetune.adapter import Manifest, base_hash, tokenizer_hash
from finetune.config import Settings
from finetune.job import TuningJob
from finetune.plan import Plan
from finetune.train.material import Material
from prompts.chat_format import template_hash, template_of

LIBRARIES = ("loam-server", "torch", "transformers", "peft", "trl", "bitsandbytes")


class Passport:
    """Makes manifests of one job: of its checkpoints, and of its result. What they share is computed once."""

    def __init__(self, job: TuningJob, material: Material) -> None:
        self._shared: dict[str, Any] = {
            "method": job.settings.method,
            "base": job.base.source,
            "base_revision": material.source.revision,
            "base_sha256": base_hash(material.source.folder),
            "base_license": material.source.license,
            "quantization": job.settings.quantization,
            "template_sha256": template_hash(template_of(material.tokenizer)),
            "tokenizer_sha256": tokenizer_hash(material.tokenizer),
            "data_sha256": material.training.file.sha256,
            "validation_sha256": material.validation.file.sha256 if material.validation else None,
            "settings": TypeAdapter(Settings).dump_python(job.settings, mode="json"),
            "plan": TypeAdapter(Plan).dump_python(job.plan, mode="json") if job.plan else None,
            "versions": {name: version(name) for name in LIBRARIES},
            "parent": job.parent,
        }

    def manifest(
        self, *, kind: str, dtype: Any, steps: int, trained_tokens: int, metrics: Mapping[str, float]
    ) -> Manifest:
        """Give the manifest of a model after so many steps; `dtype` is what its base is to compute in."""
        return Manifest(
            **self._shared,
            kind=kind,
            dtype=str(dtype).removeprefix("torch."),
            steps=steps,
            trained_tokens=trained_tokens,
            metrics=dict(metrics),
            created_at=int(time.time()),
        )
