"""Where a cross-encoder's weights lie."""

import json
from pathlib import Path

from rag.encoders.model_source import Kind
from rag.errors import CrossEncoderUnavailable


def _classifies_pairs(folder: Path) -> bool:
    """Whether it has a head that gives scores. Without one a random head would be put on it, and nobody would see."""
    return _names_a_class(folder / "config.json") or _says_cross_encoder(folder / "config_sentence_transformers.json")


def _names_a_class(config: Path) -> bool:
    named = _read(config).get("architectures")
    return isinstance(named, list) and any(str(one).endswith("ForSequenceClassification") for one in named)


def _says_cross_encoder(config: Path) -> bool:
    return _read(config).get("model_type") == "CrossEncoder"


def _read(file: Path) -> dict[str, object]:
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return given if isinstance(given, dict) else {}


CROSS_ENCODER = Kind(
    called="cross-encoder",
    holds="cross-encoder",
    needs="It needs weights, a tokenizer and a config.json that names a class …ForSequenceClassification.",
    organisation="cross-encoder",
    is_model=_classifies_pairs,
    error=CrossEncoderUnavailable,
)
