"""Where the models of hosted engines are, by whose key, and what their APIs take."""

from typing import Any

from services.engines.hosted import Upstream
from services.engines.parameters import GROQ, HARMLESS, OPENAI, SERVERS, TEXT, TEXT_SERVERS
from services.errors import BadRequest
from services.settings import ModelSettings, Settings, secret_of_environment

GROQ_URL = "https://api.groq.com"
OPENAI_URL = "https://api.openai.com/v1"


def upstream_of(model: ModelSettings, settings: Settings) -> Upstream:
    """Give the upstream of a hosted model. Raises BadRequest where a key that it needs is not set."""
    return _groq(model, settings) if model.engine == "groq" else _openai(model, settings)


def _groq(model: ModelSettings, settings: Settings) -> Upstream:
    key, hint = settings.groq_api_key, "GROQ_API_KEY"
    if model.api_key_env:
        key, hint = secret_of_environment(model.api_key_env), model.api_key_env
    if key is None:
        raise BadRequest(
            f"The model {model.id!r} is Groq's, which is off: set {hint} and restart.",
            param="model",
            code="engine_not_configured",
        )
    base = (model.base_url or settings.groq_base_url or GROQ_URL).rstrip("/")
    path = "/chat/completions" if base.endswith("/v1") else "/openai/v1/chat/completions"
    limits = _limits(model, settings)
    return Upstream(
        engine="groq", url=base + path, key=key, key_hint=hint, supports=GROQ | HARMLESS, forwards=GROQ, **limits
    )


def _openai(model: ModelSettings, settings: Settings) -> Upstream:
    # The key of one API is never sent to another: a model with its own base_url names its own key.
    key, hint = (None, "its api_key_env") if model.base_url else (settings.openai_api_key, "OPENAI_API_KEY")
    if model.api_key_env:
        key, hint = secret_of_environment(model.api_key_env), model.api_key_env
    base = (model.base_url or settings.openai_base_url or OPENAI_URL).rstrip("/")
    if key is None and base == OPENAI_URL:
        raise BadRequest(
            f"The model {model.id!r} is OpenAI's: set {hint} and restart.", param="model", code="engine_not_configured"
        )
    known = OPENAI | SERVERS
    limits = _limits(model, settings)
    return Upstream(
        engine="openai",
        url=f"{base}/chat/completions",
        key=key,
        key_hint=hint,
        supports=known,
        forwards=known,
        text_url=f"{base}/completions",
        supports_text=TEXT | TEXT_SERVERS,
        **limits,
    )


def _limits(model: ModelSettings, settings: Settings) -> dict[str, Any]:
    return {
        "model": model.source,
        "timeout_s": model.timeout_s or settings.upstream_timeout_s,
        "retries": settings.upstream_retries if model.retries is None else model.retries,
    }
