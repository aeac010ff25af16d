"""Where the SDKs look for the API."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

# Groq's SDK puts this after its base URL, whether that ends in /v1 or not.
_GROQ = re.compile(r"^(/v1)?/openai(?=/v1/)")
# Cohere's puts this after its base URL.
_COHERE = {"/v2/rerank": "/v1/rerank", "/v1/v2/rerank": "/v1/rerank", "/v1/v1/rerank": "/v1/rerank"}


class SdkPaths:
    """Serves `/openai/v1/…` as `/v1/…`, so that a changed base URL is all that a user of Groq's SDK changes.

    So it serves what Cohere's SDK asks for, whether the base URL ends in `/v1` or not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "/openai/" in scope["path"]:
            scope = {**scope, "path": _GROQ.sub("", scope["path"])}
        elif scope["type"] == "http" and scope["path"] in _COHERE:
            scope = {**scope, "path": _COHERE[scope["path"]]}
        await self._app(scope, receive, send)
