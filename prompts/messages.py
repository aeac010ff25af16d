"""The message of a conversation, as every engine and template knows it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks and the plain text that was said."""

    role: Role
    content: str
