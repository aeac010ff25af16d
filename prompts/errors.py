"""What can be wrong with a prompt template."""


class PromptError(Exception):
    """Base of the errors of this folder."""


class UnknownPrompt(PromptError):
    """No template has that name."""


class InvalidPrompt(PromptError):
    """A template's front matter or body is not well formed, or the two disagree."""


class MissingVariable(PromptError):
    """A template was rendered without a variable that it declares, or with one it does not."""


class ChatFormatError(PromptError):
    """A model's chat template cannot render a conversation, or not so that the answers can be told apart."""
