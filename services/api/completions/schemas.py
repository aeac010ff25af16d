"""The wire of `/v1/completions`: raw prompts, as OpenAI had them before chat."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from openai import types
from pydantic import Discriminator, Field, Tag, model_validator

from services.api.chat.schemas import AsItCame, Fraction, LoamInfo, Penalty, Stop
from services.api.wire import LIST, TEXT, TOKEN_LISTS, TOKENS, Tokens, Unicode, texts_or_tokens

Prompt: TypeAlias = Annotated[
    Annotated[Unicode, Tag(TEXT)]
    | Annotated[list[Unicode], Field(min_length=1), Tag(LIST)]
    | Annotated[Tokens, Tag(TOKENS)]
    | Annotated[list[Tokens], Field(min_length=1), Tag(TOKEN_LISTS)],
    Discriminator(texts_or_tokens),
]


class CompletionRequest(AsItCame):
    """The body of a request. Fields that are not named here are for the engine to know or to refuse."""

    model: Annotated[Unicode, Field(min_length=1)]
    prompt: Prompt | None
    stream: bool | None = None

    best_of: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    seed: int | None = None
    stop: Stop | None = None
    stream_options: dict[str, bool] | None = None
    suffix: Unicode | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("'stream_options' is only allowed when 'stream' is true")
        if self.best_of is not None and self.best_of > 1 and self.stream:
            raise ValueError("'best_of' cannot be streamed: which is best is known only at the end")
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise ValueError("'best_of' must be at least 'n'")
        return self

    def params(self) -> Mapping[str, Any]:
        """Give everything but the prompt that was asked of the engine, as it came."""
        return self.model_dump(exclude_unset=True, exclude={"model", "prompt", "stream"})


class Completion(types.Completion):
    """A text completion with loam's additions; those of a stream have `loam` where a choice ends."""

    loam: LoamInfo | None = None
