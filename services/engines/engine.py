"""What every engine is: chat messages in, OpenAI's chat completion out, whole or in chunks.

The currency is the wire's own JSON (`chat.completion` and `chat.completion.chunk` objects as
dicts), so that a hosted engine passes on what it gets and no field is lost on the way. `id`,
`created` and `model` are set by the caller of the engine.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rag.types import Grounding


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """`messages` and `params` as they came over the wire; `grounding` when documents were asked for.

    With a grounding the messages already carry its instructions; the extractive engine alone
    looks at its sources.
    """

    messages: tuple[Mapping[str, Any], ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    grounding: Grounding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A raw prompt that no chat template touches, or several: texts, or the ids of their tokens."""

    prompt: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | None
    params: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Generates. Raises UpstreamFailed, UpstreamTimeout, RateLimited, BadRequest."""

    @property
    def name(self) -> str:
        """The kind of engine, as the `loam` object of a response gives it."""

    @property
    def supports(self) -> frozenset[str]:
        """The request parameters that this engine honours; others are refused by name."""

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        """Give a whole `chat.completion` object."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        """Give `chat.completion.chunk` objects; closing the generator stops the generation."""


@runtime_checkable
class TextEngine(Protocol):
    """An engine that also goes on from raw prompts. `supports_text` is empty where its API does not."""

    @property
    def name(self) -> str:
        """The kind of engine, as the `loam` object of a response gives it."""

    @property
    def supports_text(self) -> frozenset[str]:
        """The parameters of a text completion that it honours."""

    async def complete(self, request: TextRequest) -> dict[str, Any]:
        """Give a whole `text_completion` object."""

    def stream_text(self, request: TextRequest) -> AsyncGenerator[dict[str, Any]]:
        """Give `text_completion` objects as they grow; closing the generator stops the generation."""


@runtime_checkable
class CountsTokens(Protocol):
    """An engine that counts what it reads by itself."""

    def count_tokens(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Give the tokens that messages come to, as `usage` would."""
