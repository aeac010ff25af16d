"""The local engine asked from a test, without a server."""

import asyncio
from pathlib import Path
from typing import Any

from finetune.adapter import Manifest
from finetune.model import Base
from services.engines.engine import ChatRequest
from services.engines.local.engine import Local
from services.engines.local.models import LocalModels
from services.engines.local.wanted import WantedModel, wanted_tuned

QUESTION = {"role": "user", "content": "what is two and two?"}


class Asking:
    """Local models, and one question at a time to one of them; greedy unless told otherwise."""

    def __init__(self, models: LocalModels) -> None:
        self.models = models

    def base(self, folder: Path | str, **options: Any) -> Local:
        return Local(WantedModel(id="tiny", base=Base(source=str(folder)), **options), self.models)

    def tuned(self, folder: Path, manifest: Manifest) -> Local:
        return Local(wanted_tuned(f"ft:{folder.name}", folder, manifest), self.models)

    def chat(self, engine: Local, *messages: dict[str, Any], **params: Any) -> dict[str, Any]:
        return asyncio.run(engine.chat(request(*messages, **params)))

    def chunks(self, engine: Local, *messages: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
        async def listen() -> list[dict[str, Any]]:
            return [chunk async for chunk in engine.stream(request(*messages, **params))]

        return asyncio.run(listen())

    def ids(self, engine: Local, *messages: dict[str, Any], **params: Any) -> list[int]:
        """Give the tokens of the first choice."""
        answer = self.chat(engine, *messages, **params | {"return_token_ids": True})
        return list(answer["choices"][0]["token_ids"])


def request(*messages: dict[str, Any], **params: Any) -> ChatRequest:
    return ChatRequest(messages=messages or (QUESTION,), params={"temperature": 0, "max_tokens": 12} | params)
