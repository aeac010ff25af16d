"""The short way for requests that come by the thousand: from a JSON body to its handler, past FastAPI's machinery.

What FastAPI does for a route costs more than all that loam does to forward one. Only a request that is in order goes
this way; any other is given to FastAPI's own route of the same path, untouched, which says what is wrong with it. That
route is also the one that is documented.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Message, Receive, Scope, Send

from services.wiring import Services

Handler = Callable[[Any, Request, Services, str], Awaitable[Response]]

_DECLINED: Final = "loam.declined"


class HotRoute(BaseRoute):
    """POST on one path, the body read into `kind`."""

    def __init__(self, path: str, kind: type[BaseModel], handler: Handler, services: Services, router: Router) -> None:
        self.path = path
        self._kind = kind
        self._handler = handler
        self._services = services
        self._router = router

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        mine = scope["type"] == "http" and scope["path"] == self.path and scope["method"] == "POST"
        return (Match.FULL if mine and _DECLINED not in scope else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        body = await request.body()
        asked = self._read(request.headers.get("content-type"), body)
        if asked is None:
            await self._router({**scope, _DECLINED: True}, _again(body, receive), send)
            return
        scope["route"] = self
        response = await self._handler(asked, request, self._services, scope["state"]["project_id"])
        await response(scope, receive, send)

    def _read(self, content_type: str | None, body: bytes) -> BaseModel | None:
        if (content_type or "").partition(";")[0].strip().lower() != "application/json":
            return None
        try:
            return self._kind.model_validate(json.loads(body))
        except (ValueError, RecursionError):
            return None


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that has been read once more, then what the connection says."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
