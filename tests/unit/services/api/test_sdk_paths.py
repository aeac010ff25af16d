import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from services.api.sdk_paths import SdkPaths


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("/v1/models", "/v1/models"),
        ("/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/models/groq/openai/v1/x", "/v1/models/groq/openai/v1/x"),
        ("/openai/files", "/openai/files"),
    ],
)
def test_groq_s_paths_are_openai_s(asked: str, served: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["path"])

    async def unused() -> None: ...

    asyncio.run(SdkPaths(app)({"type": "http", "path": asked}, unused, unused))  # type: ignore[arg-type]
    assert seen == [served]
