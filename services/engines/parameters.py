"""Which request parameters mean what to whom: honoured, harmless to ignore, or to be refused by name.

The names are those of `POST /v1/chat/completions` in OpenAI's spec and in Groq's SDK; a test keeps
the sets equal to the SDKs' own.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.engines.engine import Engine, TextEngine
from services.errors import BadRequest


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_BOTH: Final = _names(
    "frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata n "
    "parallel_tool_calls presence_penalty reasoning_effort response_format seed service_tier stop store "
    "stream_options temperature tool_choice tools top_logprobs top_p user"
)
OPENAI: Final = _BOTH | _names(
    "audio modalities moderation prediction prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier verbosity web_search_options"
)
GROQ: Final = _BOTH | _names(
    "citation_options compound_custom disable_tool_validation documents exclude_domains include_domains "
    "include_reasoning reasoning_format search_settings"
)
SERVERS: Final = _names(
    "add_generation_prompt chat_template_kwargs continue_final_message min_p prompt_logprobs repetition_penalty "
    "return_token_ids top_k"
)
"""What vLLM, llama.cpp and their like take beside OpenAI's."""

TEXT: Final = _names(
    "best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream_options suffix "
    "temperature top_p user"
)
"""What `POST /v1/completions` takes."""

TEXT_SERVERS: Final = _names(
    "add_special_tokens min_p prompt_logprobs repetition_penalty response_format return_token_ids top_k"
)

_VLLM_OWN: Final = _names(
    "allowed_token_ids bad_words ignore_eos include_stop_str_in_output min_tokens skip_special_tokens stop_token_ids "
    "structured_outputs truncate_prompt_tokens"
)
# It takes fields that it does not know without a word, so what it leaves undone is to be refused here.
VLLM: Final = (
    (_BOTH - _names("function_call functions metadata service_tier store user"))
    | SERVERS
    | _VLLM_OWN
    | _names("include_reasoning thinking_token_budget")
)
VLLM_TEXT: Final = (TEXT - _names("best_of suffix")) | TEXT_SERVERS | _VLLM_OWN
"""What vLLM 0.32 honours (`ChatCompletionRequest` and `CompletionRequest` in its protocol files)."""

HARMLESS: Final = _names(
    "metadata parallel_tool_calls prediction prompt_cache_key prompt_cache_options prompt_cache_retention "
    "reasoning_effort safety_identifier service_tier store user verbosity"
)
"""Leaving these out changes nothing that the caller was promised."""

SAMPLING: Final = _names("frequency_penalty presence_penalty seed temperature top_p")
"""How to choose among likely words: nothing to an engine that does not choose words."""

_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}
"""Values that ask for nothing."""


def effective_text(params: Mapping[str, Any], engine: TextEngine) -> dict[str, Any]:
    """Give the parameters of a text completion that the engine is to honour. Raises BadRequest."""
    wanted = {name: value for name, value in params.items() if value is not None}
    for name in wanted:
        if name not in engine.supports_text:
            raise _refusal(name, engine.name, known=TEXT | TEXT_SERVERS)
    return wanted


def effective(params: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """Give the parameters that the engine is to honour. Raises BadRequest naming one that it cannot."""
    wanted = {name: value for name, value in params.items() if value is not None}
    if wanted.get("tool_choice") == "none" and "tools" not in engine.supports:
        wanted = {name: value for name, value in wanted.items() if name not in ("tools", "tool_choice")}
    unsupported = {name: value for name, value in wanted.items() if name not in engine.supports}
    for name, value in unsupported.items():
        if value not in _NEUTRAL.get(name, ()):
            raise _refusal(name, engine.name, known=OPENAI | GROQ | SERVERS)
    return {name: value for name, value in wanted.items() if name not in unsupported}


def _refusal(name: str, engine: str, *, known: frozenset[str]) -> BadRequest:
    if name not in known:
        return BadRequest(f"Unrecognized request argument supplied: {name}.", param=name, code="unknown_parameter")
    message = f"The {engine} engine does not support {name!r}: leave it out or choose another model."
    return BadRequest(message, param=name, code="unsupported_parameter")
