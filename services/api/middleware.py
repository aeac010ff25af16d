"""Around every request: an id, the guard against web pages, the limit on bodies, the last catch."""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.errors import error_response
from services.auth import check_browser
from services.errors import ServiceError, TooLarge
from services.ids import REQUEST, new_id
from services.settings import Settings

log = logging.getLogger(__name__)

UPLOAD_PATHS = ("/v1/files", "/v1/uploads")
MULTIPART_ALLOWANCE_BYTES = 1024 * 1024


class RequestGuard:
    """Gives every response an `x-request-id` and turns what nobody foresaw into a 500 that says it.

    A body over the limit is refused by its declared length before it is read, and by its real
    length while it is.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Guarded(self, scope, receive, send).run()

    def body_limit(self, path: str) -> int:
        uploads = path.startswith(UPLOAD_PATHS)
        return self.settings.max_file_bytes + MULTIPART_ALLOWANCE_BYTES if uploads else self.settings.max_body_bytes


class _Guarded:
    """One request on its way through."""

    def __init__(self, guard: RequestGuard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.id = new_id(REQUEST)
        self.limit = guard.body_limit(scope["path"])
        self.received = 0
        self.status = 0
        self.begun = time.perf_counter()

    async def run(self) -> None:
        headers = Headers(scope=self.scope)
        try:
            check_browser(self.guard.settings, headers.get("host"), headers.get("origin"))
            self._check_size(int(headers.get("content-length") or 0))
            await self.guard.app(self.scope, self.receive, self.send)
        except Exception as exc:
            await self._failed(exc)
        finally:
            self._log()

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self._check_size(self.received)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.limit:
            raise TooLarge(f"The request body is over the limit of {self.limit} bytes.")

    async def _failed(self, error: Exception) -> None:
        if not isinstance(error, ServiceError):
            log.exception("request_failed request_id=%s", self.id)
        if self.status:
            raise error
        await error_response(error)(self.scope, self._receive, self.send)

    def _log(self) -> None:
        milliseconds = (time.perf_counter() - self.begun) * 1000
        log.info(
            "request_finished request_id=%s method=%s path=%s status=%d ms=%.1f",
            self.id, self.scope["method"], self.scope["path"], self.status, milliseconds,
        )  # fmt: skip
