"""What a training file holds once it is read, whatever its format was.

There are four kinds of example, one for each kind of training signal. Those that teach a model to answer
are conversations: a file of plain prompts and completions becomes turns of a user and an assistant. The
fourth teaches an embedder to find: a query, and passages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from prompts import Role

Tool: TypeAlias = Mapping[str, Any]
"""A tool as the chat API has it: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


class Kind(StrEnum):
    """The training signal of an example."""

    SUPERVISED = "supervised"
    PREFERENCE = "preference"
    UNPAIRED = "unpaired"
    RETRIEVAL = "retrieval"


METHODS = {
    "supervised": Kind.SUPERVISED,
    "dpo": Kind.PREFERENCE,
    "reward": Kind.PREFERENCE,
    "kto": Kind.UNPAIRED,
    "embedding": Kind.RETRIEVAL,
}
"""The kind of example that each training method learns from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message. `trained` says whether its tokens count in the loss; only an assistant's can."""

    role: Role
    content: str = ""
    trained: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    def wire(self) -> dict[str, Any]:
        """Give the message as chat templates take it: absent fields left out, arguments parsed."""
        message: dict[str, Any] = {"role": self.role}
        if self.content or not self.tool_calls:
            message["content"] = self.content
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            message["name"] = self.name
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A conversation to imitate: the assistant's turns that are `trained`."""

    messages: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Two ways to go on from one prompt, of which `chosen` is the better."""

    prompt: tuple[Turn, ...]
    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaired:
    """A way to go on from a prompt; `label` says whether it is a good one."""

    prompt: tuple[Turn, ...]
    completion: tuple[Turn, ...]
    label: bool
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """A query, the passages that answer it, and some that do not though they may seem to."""

    query: str
    passages: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    tools: ClassVar[tuple[Tool, ...]] = ()
    """There are none."""


Example: TypeAlias = Supervised | Preference | Unpaired | Retrieval


def sequences(example: Example) -> tuple[tuple[Turn, ...], ...]:
    """Give the conversations that a trainer runs the model over for this example.

    An embedder reads text by text; each is given as a turn of its own, the right passages as `trained`.
    """
    match example:
        case Supervised():
            return (example.messages,)
        case Preference():
            return (example.prompt + example.chosen, example.prompt + example.rejected)
        case Unpaired():
            return (example.prompt + example.completion,)
        case Retrieval():
            right = [(Turn(role="assistant", content=text, trained=True),) for text in example.passages]
            wrong = [(Turn(role="assistant", content=text),) for text in example.negatives]
            return ((Turn(role="user", content=example.query),), *right, *wrong)
