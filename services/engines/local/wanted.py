"""What of a model's weights, and of a request, the local engine is asked for. Nothing here is heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.adapter import Manifest
from finetune.model import Base
from services.engines.local.tools import Tools

if TYPE_CHECKING:
    from services.engines.local.guide import Guide


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedModel:
    """A model by where it lies: `base` its weights, `dtype` None for their own.

    Of a tuned model `folder` holds its tokenizer and, unless it was tuned whole, its adapter, and `manifest` says what
    it was made from; one that is `forced` is served though it does not fit that.
    """

    id: str
    base: Base
    quantization: str = "none"
    dtype: str | None = None
    folder: Path | None = None
    manifest: Manifest | None = None
    forced: bool = False

    @property
    def adapter(self) -> Path | None:
        return self.folder if self.manifest is not None and self.manifest.kind == "adapter" else None


def wanted_tuned(model_id: str, folder: Path, manifest: Manifest) -> WantedModel:
    """A tuned model is served as it was trained: over the same base, quantized the same, in the same dtype."""
    source = Base(source=str(folder))
    if manifest.kind == "adapter":
        source = Base(source=manifest.base, revision=manifest.base_revision)
    return WantedModel(
        id=model_id,
        base=source,
        quantization=manifest.quantization,
        dtype=manifest.dtype,
        folder=folder,
        manifest=manifest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen; None is for the model's own generation config to say, and 1 or off after that."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Prompts that no chat template touches: texts, or ids of tokens; None is for what a model begins a text with."""

    prompts: Sequence[str | Sequence[int] | None]
    add_special_tokens: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, read. `top_logprobs` None is for no logprobs, `prompt_logprobs` None for none of the prompt.

    It is a conversation, or `raw` prompts, each of which is gone on from `n` times.
    The prompt shows the `tools`, of which `calls` may be called; a `schema` is what the answer is to follow, and the
    `guide` is made of both.
    """

    messages: Sequence[Mapping[str, Any]] = ()
    raw: Raw | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    calls: Tools | None = None
    schema: Mapping[str, Any] | None = None
    guide: "Guide | None" = None
    sampling: Sampling = Sampling()
    n: int = 1
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    return_token_ids: bool = False
    include_usage: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    @property
    def place(self) -> str:
        """Where in the request the prompt is."""
        return "messages" if self.raw is None else "prompt"
