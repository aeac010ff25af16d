"""A chat request as the local engine understands it; what it cannot do is refused by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from services.engines.engine import ChatRequest
from services.engines.local.schemas import read_format
from services.engines.local.tools import read_tools
from services.engines.local.wanted import Asked, Sampling
from services.engines.messages import plain_message
from services.engines.parameters import HARMLESS
from services.errors import BadRequest

COMMON: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "min_p",
        "n",
        "presence_penalty",
        "repetition_penalty",
        "response_format",
        "return_token_ids",
        "seed",
        "stop",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
    }
)
"""What chats and raw prompts both take."""

SUPPORTS: Final = (
    HARMLESS
    | COMMON
    | {
        "add_generation_prompt",
        "continue_final_message",
        "max_completion_tokens",
        "prompt_logprobs",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)

MAX_LOGPROBS = 20
MAX_BIAS = 100.0


def read_request(request: ChatRequest, *, stream: bool = False) -> Asked:
    """Read and check a request. Raises BadRequest with the parameter's name."""
    given = Given(request.params)
    prompt_logprobs = given.integer("prompt_logprobs", at_least=0, at_most=MAX_LOGPROBS)
    if stream and prompt_logprobs is not None:
        raise _wrong("prompt_logprobs", "is for answers that are not streamed")
    add, go_on = given.flag("add_generation_prompt", default=True), given.flag("continue_final_message", default=False)
    if add and go_on:
        raise _wrong("continue_final_message", "needs add_generation_prompt to be false")
    return Asked(
        messages=[plain_message(message, place) for place, message in enumerate(request.messages)],
        tools=given.get("tools") or (),
        calls=read_tools(request.params),
        schema=read_format(given.get("response_format")),
        sampling=read_sampling(given),
        n=given.get("n") or 1,
        max_tokens=given.get("max_completion_tokens") or given.get("max_tokens"),
        stops=read_stops(given.get("stop")),
        top_logprobs=_top_logprobs(given),
        prompt_logprobs=prompt_logprobs,
        return_token_ids=given.flag("return_token_ids", default=False),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
        add_generation_prompt=add,
        continue_final_message=go_on,
    )


class Given:
    """The parameters. Those that are not OpenAI's own have been checked by nobody yet."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def get(self, name: str) -> Any:
        return self._params.get(name)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._params.get(name, default)
        if not isinstance(value, bool):
            raise _wrong(name, "must be true or false")
        return value

    def integer(self, name: str, *, at_least: int, at_most: int | None = None) -> int | None:
        value = self._params.get(name)
        if value is None:
            return None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < at_least or (at_most is not None and value > at_most):
            raise _wrong(name, f"must be a whole number from {at_least}" + (f" to {at_most}" if at_most else " on"))
        return int(value)

    def number(self, name: str, fits: Callable[[float], bool], wanted: str) -> float | None:
        value = self._params.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not fits(value):
            raise _wrong(name, f"must be {wanted}")
        return float(value)


def read_sampling(given: Given) -> Sampling:
    """Give how tokens are to be chosen. Raises BadRequest."""
    top_k = given.integer("top_k", at_least=-1)
    return Sampling(
        temperature=given.number("temperature", lambda value: value >= 0, "a number from 0 on"),
        top_p=given.number("top_p", lambda value: 0 <= value <= 1, "a number from 0 to 1"),
        # vLLM's -1 is for all tokens, as its 0 is.
        top_k=max(0, top_k) if top_k is not None else None,
        min_p=given.number("min_p", lambda value: 0 <= value <= 1, "a number from 0 to 1"),
        repetition_penalty=given.number("repetition_penalty", lambda value: value > 0, "a number over 0"),
        frequency_penalty=given.number("frequency_penalty", lambda value: abs(value) <= 2, "from -2 to 2") or 0.0,
        presence_penalty=given.number("presence_penalty", lambda value: abs(value) <= 2, "from -2 to 2") or 0.0,
        logit_bias=_logit_bias(given.get("logit_bias")),
        seed=given.get("seed"),
    )


def _logit_bias(given: Mapping[str, float] | None) -> Mapping[int, float] | None:
    if not given:
        return None
    if not all(token.isascii() and token.isdecimal() for token in given):
        raise _wrong("logit_bias", "must have the ids of tokens as its keys")
    if not all(abs(bias) <= MAX_BIAS for bias in given.values()):
        raise _wrong("logit_bias", "must have values from -100 to 100")
    return {int(token): bias for token, bias in given.items()}


def _top_logprobs(given: Given) -> int | None:
    asked = given.integer("top_logprobs", at_least=0, at_most=MAX_LOGPROBS)
    if not given.flag("logprobs", default=False):
        if asked:
            raise _wrong("top_logprobs", "needs logprobs to be true")
        return None
    return asked or 0


def read_stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Give the texts that end an answer."""
    return tuple(stop for stop in ([given] if isinstance(given, str) else given or ()) if stop)


def _wrong(name: str, problem: str) -> BadRequest:
    return BadRequest(f"Invalid value for {name!r}: it {problem}.", param=name, code="invalid_value")
