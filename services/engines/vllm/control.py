"""What loam asks of a vLLM server beside completions: how it is, what it serves, and adapters to take or let go.

Called from threads, and off the way of requests: those go through the pool that all hosted engines share.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from services.engines.pool import proxy_for
from services.engines.upstream_errors import refusal_of
from services.errors import ServiceError, UpstreamFailed

ASKED_S = 5.0
LOADING_S = 120.0
"""How long the server may take to read an adapter."""


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """The server answered, and not with what was asked for."""

    status: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A server by the base URL of its API, which ends in `/v1`, and its key."""

    base_url: str
    key: SecretStr | None

    def health(self) -> Literal["ready", "dead", "silent"]:
        """Say how it is; `dead` is a server whose engine has ended, which it does not outlive."""
        try:
            self._ask(f"{self._root}/health", None, ASKED_S)
        except Refusal as refusal:
            return "dead" if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else "silent"
        except UpstreamFailed:
            return "silent"
        return "ready"

    def root_of(self, name: str) -> str | None:
        """Give where the weights of a model lie by the word of the server, None if it has no such model."""
        cards = self._ask(f"{self.base_url}/models", None, ASKED_S)["data"]
        return next((card.get("root") for card in cards if card["id"] == name), None)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make an adapter known under a name, anew if there is one of that name. Raises Refusal, UpstreamFailed."""
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            self._ask(f"{self.base_url}/load_lora_adapter", body, LOADING_S)
        except Refusal as refusal:
            # Not by `load_inplace`: with that vLLM 0.32 reads the files again for every step of every request.
            if "already been loaded" not in refusal.message:
                raise
            self.unload_adapter(name)
            self._ask(f"{self.base_url}/load_lora_adapter", body, LOADING_S)

    def unload_adapter(self, name: str) -> None:
        """Let an adapter go. Raises Refusal, UpstreamFailed."""
        self._ask(f"{self.base_url}/unload_lora_adapter", {"lora_name": name}, ASKED_S)

    def tokens(self, model: str, messages: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
        """Give the tokens that the server makes of a conversation in chat. Raises Refusal, UpstreamFailed."""
        body = {"model": model, "messages": list(messages), **template}
        tokens: list[int] = self._ask(f"{self._root}/tokenize", body, ASKED_S)["tokens"]
        return tokens

    @property
    def _root(self) -> str:
        return self.base_url.removesuffix("/v1")

    def _ask(self, url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key.get_secret_value()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310
        proxy = proxy_for(url)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
        )
        try:
            with opener.open(request, timeout=timeout_s) as response:
                return _json(response.read())
        except urllib.error.HTTPError as exc:
            with exc:
                raise Refusal(exc.code, str(self._said(exc))) from exc
        except (OSError, ValueError) as exc:
            raise UpstreamFailed("vllm could not be reached.", code="upstream_unreachable") from exc

    def _said(self, exc: urllib.error.HTTPError) -> ServiceError:
        hint = "the model's api_key_env"
        return refusal_of(exc.code, dict(exc.headers), exc.read(), engine="vllm", key=self.key, key_hint=hint).error


def _json(received: bytes) -> Any:
    """vLLM says in plain words that it has done what it was told."""
    try:
        return json.loads(received)
    except ValueError:
        return None
