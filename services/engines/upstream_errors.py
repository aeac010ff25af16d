"""What a failed attempt at an upstream means: the error for the caller, and whether to try again."""

import email.utils
import json
import math
import random
import time
from collections.abc import Mapping

import aiohttp
from pydantic import SecretStr

from services.errors import RateLimited, ServiceError, UpstreamFailed, UpstreamRefused, UpstreamTimeout

FIRST_WAIT_S = 0.5
RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504})
MAX_MESSAGE_CHARS = 1000


class Failed(Exception):
    """One attempt failed with `error`; a `retryable` one may be made again after `wait_s`."""

    def __init__(self, error: ServiceError, *, retryable: bool, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retryable = retryable
        self.retry_after_s = retry_after_s

    def wait_s(self, attempt: int) -> float:
        """Give the pause the upstream asked for, else one that doubles, with jitter to part those who fail together."""
        if self.retry_after_s is not None:
            return self.retry_after_s
        return float(FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25))  # noqa: S311 (not for secrets)


def failure_of(exc: aiohttp.ClientError | TimeoutError, engine: str, timeout_s: float) -> Failed:
    """Give what it means that no response, or only a part of one, came."""
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        unreachable = UpstreamTimeout(f"{engine} could not be reached in time.", code="upstream_timeout")
        return Failed(unreachable, retryable=True)
    if isinstance(exc, TimeoutError):
        # Not tried again: the upstream may still be at work on it, and billing.
        message = f"{engine} sent nothing for {timeout_s:g} s."
        return Failed(UpstreamTimeout(message, code="upstream_timeout"), retryable=False)
    if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return Failed(UpstreamFailed(f"{engine} could not be reached.", code="upstream_unreachable"), retryable=True)
    return Failed(UpstreamFailed(f"The connection to {engine} broke.", code="upstream_interrupted"), retryable=True)


def refusal_of(
    status: int, headers: Mapping[str, str], body: bytes, *, engine: str, key: SecretStr | None, key_hint: str
) -> Failed:
    """Give what a response other than 200 means."""
    said = _said(body)
    message = scrubbed(str(said.get("message") or f"HTTP {status}"), key)
    retry_after_s = _retry_after_s(headers)
    if status in (401, 403):
        # The caller's own key is good: this one is the operator's to mend.
        error: ServiceError = UpstreamFailed(f"{engine} refused loam's API key: check {key_hint}.", code="upstream_key")
    elif status == 429:
        error = RateLimited(f"{engine}: {message}", retry_after_s=retry_after_s, code=_text(said.get("code")))
    elif 400 <= status < 500 and status != 408:
        error = UpstreamRefused(message, status=status, param=_text(said.get("param")), code=_text(said.get("code")))
    else:
        error = UpstreamFailed(f"{engine} failed with status {status}: {message}", code="upstream_failed")
    return Failed(error, retryable=status in RETRYABLE, retry_after_s=retry_after_s)


def _said(body: bytes) -> Mapping[str, object]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = given.get("error") if isinstance(given, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def scrubbed(message: str, key: SecretStr | None) -> str:
    """Give what an upstream says without the key, which some repeat, and not endlessly."""
    secret = key.get_secret_value() if key else ""
    return (message.replace(secret, "***") if secret else message)[:MAX_MESSAGE_CHARS]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after`, in seconds or as a date, and the finer `retry-after-ms` that OpenAI sends beside it."""
    given = headers.get("retry-after", "")
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    if (seconds := _number(given)) is not None:
        return seconds
    date = email.utils.parsedate_tz(given)
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
