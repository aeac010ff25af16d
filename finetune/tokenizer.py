"""The one door to a model's tokenizer, which is loaded without the model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import ModelUnavailable, sentence_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(model: str) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model: a directory or a hub id. Raises ModelUnavailable."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as exc:
        raise ModelUnavailable(
            f"The tokenizer of {model!r} cannot be loaded: {sentence_of(exc)}",
            hint="Give a directory with the model's files, or a hub id that can be reached or is in the cache.",
        ) from exc


def longest_input(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Give the longest sequence that the model takes, None where its tokenizer does not say."""
    # Where nothing is said, transformers puts 10 to the power of 30.
    return int(tokenizer.model_max_length) if tokenizer.model_max_length < 10**9 else None


def longest_text(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Give the longest text that an embedder reads, in tokens: it may be set to read less than its tokenizer takes."""
    try:
        own = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8")).get("max_seq_length")
    except (OSError, ValueError):
        own = None
    limits = [limit for limit in (own, longest_input(tokenizer)) if limit is not None]
    return min(limits, default=None)
