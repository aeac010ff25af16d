"""Errors that a caller of the service may see, and the table that gives each its HTTP form.

The wire form is OpenAI's: `{"error": {"message", "type", "param", "code"}}`. Its SDKs retry 408,
409, 429 and 5xx, so a refusal that will not change is 400, 401, 403, 404 or 413.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from prompts import PromptError, UnknownPrompt
from rag.errors import CrossEncoderUnavailable, EmbedderMismatch, EmbedderUnavailable, InvalidFile, RagError


class ServiceError(Exception):
    """Base of the errors that services raise on purpose; the message is safe to show."""

    status: int = 500
    type: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code

    def saying(self, message: str) -> Self:
        """Give the same error with another message."""
        other = type(self).__new__(type(self), message)
        other.__dict__.update(self.__dict__)
        return other


class BadRequest(ServiceError):
    """The request cannot be served as it is."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(ServiceError):
    """No key, or not a live one."""

    status = 401
    type = "invalid_request_error"


class Forbidden(ServiceError):
    """The caller may not do this, whatever the key."""

    status = 403
    type = "invalid_request_error"


class NotFound(ServiceError):
    """There is no such thing in the caller's project."""

    status = 404
    type = "invalid_request_error"


class TooLarge(ServiceError):
    """The body or file is over a limit."""

    status = 413
    type = "invalid_request_error"


class RateLimited(ServiceError):
    """Too much at once; `retry_after_s` says when to come back."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after_s: float | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class UpstreamFailed(ServiceError):
    """A hosted engine failed or could not be reached."""

    status = 502
    type = "upstream_error"


class UpstreamTimeout(UpstreamFailed):
    """An engine did not answer in time."""

    status = 504


class CircuitOpen(UpstreamFailed):
    """An engine has failed again and again and is not asked until `retry_after_s` have passed."""

    status = 503

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, code="circuit_open")
        self.retry_after_s = retry_after_s


class UpstreamRefused(ServiceError):
    """A hosted engine refused the request itself: its status and message are the caller's to see."""

    type = "invalid_request_error"

    def __init__(self, message: str, *, status: int, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status


class NotReady(ServiceError):
    """The service, or a part of it, is not up yet."""

    status = 503
    type = "service_unavailable"


class DatabaseUnavailable(NotReady):
    """The database does not answer, or is too busy to; it may do so in a moment."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="database_unavailable")


class InvalidSettings(ServiceError):
    """The configuration cannot be used; the message names the file, the line or the variable."""


@dataclass(frozen=True, slots=True)
class HttpForm:
    """How an error of another layer looks over HTTP."""

    status: int
    type: str
    code: str | None


DOMAIN_ERRORS: dict[type[Exception], HttpForm] = {
    UnknownPrompt: HttpForm(400, "invalid_request_error", "unknown_prompt"),
    PromptError: HttpForm(500, "server_error", "invalid_prompt"),
    CrossEncoderUnavailable: HttpForm(503, "service_unavailable", "cross_encoder_unavailable"),
    EmbedderUnavailable: HttpForm(503, "service_unavailable", "embedder_unavailable"),
    EmbedderMismatch: HttpForm(400, "invalid_request_error", "embedder_mismatch"),
    InvalidFile: HttpForm(400, "invalid_request_error", "invalid_file"),
    RagError: HttpForm(400, "invalid_request_error", None),
}


def http_form(error: Exception) -> HttpForm:
    """Give the HTTP form of any error: the nearest class named in the table, else a plain 500."""
    if isinstance(error, ServiceError):
        return HttpForm(error.status, error.type, error.code)
    for kind in type(error).__mro__:
        if kind in DOMAIN_ERRORS:
            form = DOMAIN_ERRORS[kind]
            return HttpForm(form.status, form.type, form.code or getattr(error, "code", None))
    return HttpForm(500, "server_error", None)
