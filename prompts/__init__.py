"""Everything that is said to a model: messages and the templates they are rendered from."""

from prompts.errors import InvalidPrompt, MissingVariable, PromptError, UnknownPrompt
from prompts.messages import Message, Role
from prompts.templates import Template, Templates

__all__ = [
    "InvalidPrompt",
    "Message",
    "MissingVariable",
    "PromptError",
    "Role",
    "Template",
    "Templates",
    "UnknownPrompt",
]
