"""What every engine is: chat messages in, OpenAI's chat completion out, whole or in chunks.

The currency is the wire's own JSON (`chat.completion` and `chat.completion.chunk` objects as
dicts), so that a hosted engine passes on what it gets and no field is lost on the way. `id`,
`created` and `model` are set by the caller of the engine.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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
