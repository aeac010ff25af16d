"""What can go wrong between a training file and a tuned model."""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from finetune.data.problems import Problems


class FinetuneError(Exception):
    """Base of every error that `finetune` raises on purpose."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.hint = hint


def sentence_of(exc: Exception) -> str:
    """Give what an exception says in its first line, or its kind, as a sentence: libraries go on for pages."""
    line = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip()
    return line if line.endswith(".") else f"{line}."


class InvalidDataset(FinetuneError):
    """A training file has errors; `problems` holds all of them, and the warnings."""

    def __init__(self, name: str, problems: "Problems") -> None:
        first = next(problem for problem in problems if problem.severity == "error")
        count = f"{problems.errors:,} error{'s' if problems.errors != 1 else ''}"
        super().__init__(f"{name!r} cannot be used for training: {count}. {first.sentence()}", hint=first.remedy)
        self.problems = problems


class UnreadableFile(FinetuneError):
    """A training file is not there, is a folder, or may not be read."""


class ModelUnavailable(FinetuneError):
    """A model, or a part of it that is needed, cannot be found or loaded."""


class TrainingFailed(FinetuneError):
    """A training ended before its end. `text` says why, `code` in one word for programs; the hint is what can be done.

    `disk_full`, `out_of_memory`, `device_lost`, `diverged`, `unavailable_model`, `invalid_file`, `no_chat_template`,
    `chat_format`, `unknown_targets`, `no_max_length`, `busy`, `killed` or `failed`.
    """

    def __init__(self, message: str, *, code: str = "failed", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text, self.code = message, code


class TrainerKilled(TrainingFailed):
    """The trainer's process was ended by a signal from outside; started again, it goes on from its last checkpoint."""

    retryable = True


class NotAnswered(FinetuneError):
    """Serving refused or failed, or its answer lacks what parity needs."""


class ExportFailed(FinetuneError):
    """A tuned model cannot be written out."""


class DoesNotFit(FinetuneError):
    """A tuning takes more memory than its device has, however it is run. `code` is as a TrainingFailed has it.

    `needed_bytes` is the least that it takes, `remedies` what would fit, each with the memory that it would take.
    """

    code: ClassVar[str] = "does_not_fit"

    def __init__(
        self, message: str, *, needed_bytes: int, remedies: "tuple[tuple[str, int], ...]", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.needed_bytes = needed_bytes
        self.remedies = remedies


class InvalidRecipe(FinetuneError):
    """A recipe cannot be read, or says what no recipe can say; each problem is a line."""
