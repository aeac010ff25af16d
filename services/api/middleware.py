"""Around every request: an id, who it is from, the guard against web pages, the limit on bodies, the last catch."""

import logging
import re
import time

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.errors import error_response
from services.api.metrics import observe
from services.auth import check_browser, keys_required, project_of
from services.errors import ServiceError, TooLarge
from services.ids import REQUEST, new_id
from services.storage.tables import DEFAULT_PROJECT
from services.wiring import Services

log = logging.getLogger(__name__)

API_PATH = "/v1/"
# The routes that take files; the others take JSON, which is held in memory.
UPLOAD_PATH = re.compile(r"/v1/(files|uploads/[^/]+/parts)")
MULTIPART_ALLOWANCE_BYTES = 1024 * 1024
# Names the project of a request that this process makes of itself: no client can put anything into an ASGI scope.
INSIDE_PROJECT = "loam.project"


class RequestGuard:
    """Gives every response an `x-request-id` and turns what nobody foresaw into a 500 that says it.

    The key is checked before any of the body is read. A body over the limit is refused by its
    declared length, and by its real length while it is read.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services
        self.settings = services.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Guarded(self, scope, receive, send).run()

    def body_limit(self, path: str) -> int:
        if UPLOAD_PATH.fullmatch(path):
            return self.settings.max_file_bytes + MULTIPART_ALLOWANCE_BYTES
        return self.settings.max_body_bytes


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
            if self._is_api_call():
                self.scope.setdefault("state", {})["project_id"] = await self._project(headers.get("authorization"))
            self._check_size(int(headers.get("content-length") or 0))
            await self.guard.app(self.scope, self.receive, self.send)
        except Exception as exc:
            await self._failed(exc)
        finally:
            self._log()

    def _is_api_call(self) -> bool:
        """A browser asks by OPTIONS, without its key, whether it may send the real request."""
        return bool(self.scope["path"].startswith(API_PATH) and self.scope["method"] != "OPTIONS")

    async def _project(self, authorization: str | None) -> str:
        services = self.guard.services
        if INSIDE_PROJECT in self.scope:
            return str(self.scope[INSIDE_PROJECT])
        if not keys_required(services.settings):
            return DEFAULT_PROJECT
        return await run_in_threadpool(project_of, services.settings, services.database, authorization)

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
        seconds = time.perf_counter() - self.begun
        observe(self.scope, self.status, seconds)
        log.info(
            "request_finished request_id=%s method=%s path=%s status=%d ms=%.1f",
            self.id, self.scope["method"], self.scope["path"], self.status, seconds * 1000,
        )  # fmt: skip
