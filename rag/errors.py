"""What can go wrong between a document and an answer.

Each class says whether trying again can help (`retryable`), what to do (`hint`) and, where the
file API has a name for it, the `code` that a client sees in `last_error`.
"""

from typing import ClassVar


class RagError(Exception):
    """Base of every error that `rag` raises on purpose."""

    retryable: ClassVar[bool] = False
    code: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.hint = hint


class UnsupportedFile(RagError):
    """The file's format is not one that can be read."""

    code = "unsupported_file"


class InvalidFile(RagError):
    """The file is of a known format but is empty, broken, encrypted or dangerous."""

    code = "invalid_file"


class FileTooLarge(InvalidFile):
    """The file, or what it expands to, is over a limit."""


class InvalidFilter(RagError):
    """An attribute filter is not well formed."""

    code = "invalid_filter"


class InvalidRanking(RagError):
    """The weights of a search make no sense."""

    code = "invalid_ranking_options"


class InvalidChunking(RagError):
    """A chunking strategy is outside the limits."""

    code = "invalid_chunking"


class InvalidCollection(RagError):
    """A file to evaluate by, or a report of an evaluation, is not what it should be."""

    code = "invalid_collection"


class TooFewAnswers(RagError):
    """A run has too few right or wrong answers to calibrate an engine on."""


class EmbedderUnavailable(RagError):
    """The embedding model cannot be found or loaded."""


class EmbedderMismatch(RagError):
    """An index was built with another embedder than the one asked to search it."""


class CrossEncoderUnavailable(RagError):
    """A reranker or an entailment model cannot be found, cannot be loaded, or is none."""


class GeneratorFailed(RagError):
    """The generator gave no text for a step that needs it."""

    retryable = True
