"""Manifests of tuned models that no training made."""

from finetune.adapter import Manifest

MANIFEST = Manifest(
    kind="adapter",
    method="supervised",
    base="/models/tiny",
    base_revision=None,
    base_sha256="b" * 64,
    base_license=None,
    quantization="none",
    dtype="float32",
    template_sha256="c" * 64,
    tokenizer_sha256="d" * 64,
    data_sha256="e" * 64,
    validation_sha256=None,
    settings={},
    steps=1,
    trained_tokens=1,
    metrics={},
    plan=None,
    versions={},
    created_at=1,
)
