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
        ("/v2/rerank", "/v1/rerank"),
        ("/v1/v2/rerank", "/v1/rerank"),
        ("/v2/chat", "/v2/chat"),
    ],
)
def test_paths_of_other_sdks_are_openai_s(asked: str, served: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["path"])

    async def unused() -> None: ...

    asyncio.run(SdkPaths(app)({"type": "http", "path": asked}, unused, unused))  # type: ignore[arg-type]
    assert seen == [served]
