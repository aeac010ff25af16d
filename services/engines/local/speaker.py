"""A model as it speaks to one request: the tokenizer and adapter that it has over its base, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.engines.local.stacks import Adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A model over its base; `ends` end an answer, `context_tokens` are what prompt and answer may have together.

    `vocabulary` is how many tokens the model can read, which may be more than its tokenizer has.
    """

    tokenizer: "PreTrainedTokenizerBase"
    adapter: Adapter | None
    generation_config: Any
    ends: frozenset[int]
    context_tokens: int | None
    vocabulary: int


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the word of the model's generation config and of the tokenizer."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if isinstance(token, int))


def context_tokens(model: Any, longest_input: int | None) -> int | None:
    """The most tokens that prompt and answer may have together, None where neither model nor tokenizer says it.

    A model with LongRoPE turns all its keys another way once one of them is beyond what it was first trained on. That
    would turn those of others in the batch as well, and of prompts that were read in parts, so that is its end here.
    """
    known: Mapping[str, Any] = model.config.get_text_config().to_dict()
    said = known.get("max_position_embeddings")
    rope = known.get("rope_parameters") or {}
    if rope.get("rope_type") == "longrope":
        said = rope.get("original_max_position_embeddings") or known.get("original_max_position_embeddings") or said
    return said if isinstance(said, int) else longest_input
