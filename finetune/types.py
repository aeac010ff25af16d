"""What a training file holds once it is read, whatever its format was.

There are three kinds of example, one for each kind of training signal, and all of them are
conversations: a file of plain prompts and completions becomes turns of a user and an assistant.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from prompts import Role

Tool: TypeAlias = Mapping[str, Any]
"""A tool as the chat API has it: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


class Kind(StrEnum):
    """The training signal of an example."""

    SUPERVISED = "supervised"
    PREFERENCE = "preference"
    UNPAIRED = "unpaired"


METHODS = {
    "supervised": Kind.SUPERVISED,
    "dpo": Kind.PREFERENCE,
    "reward": Kind.PREFERENCE,
    "kto": Kind.UNPAIRED,
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


Example: TypeAlias = Supervised | Preference | Unpaired


def sequences(example: Example) -> tuple[tuple[Turn, ...], ...]:
    """Give the conversations that a trainer runs the model over for this example."""
    match example:
        case Supervised():
            return (example.messages,)
        case Preference():
            return (example.prompt + example.chosen, example.prompt + example.rejected)
        case Unpaired():
            return (example.prompt + example.completion,)
