"""A text completion as the local engine understands it, read into what it asks of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.engines.engine import TextRequest
from services.engines.local.request import COMMON, Given, read_sampling, read_stops
from services.engines.local.schemas import read_format, unfit
from services.engines.local.wanted import Asked, Raw

SUPPORTS_TEXT: Final = COMMON | {"add_special_tokens", "best_of", "echo", "user"}

MOST_CHOICES: Final = 2048
"""So many texts may one request ask for, all prompts together."""

MOST_TOKENS: Final = 16
"""How long a text completion becomes where nothing is said of it, as in OpenAI's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAsked:
    """A request, read. Of those that `asked` generates the `n` best of each prompt are told.

    With `echo` a text begins with its prompt; with `silent` that is all of it. `logprobs` None is for none.
    """

    asked: Asked
    n: int
    echo: bool
    silent: bool
    logprobs: int | None

    @property
    def prompts(self) -> Sequence[str | Sequence[int] | None]:
        return self.asked.raw.prompts if self.asked.raw is not None else ()


def read_text(request: TextRequest) -> TextAsked:
    """Read and check a request. Raises BadRequest with the parameter's name."""
    given = Given(request.params)
    n, logprobs = given.get("n") or 1, given.get("logprobs")
    best_of, echo = max(n, given.get("best_of") or n), given.flag("echo", default=False)
    prompts = _prompts(request.prompt)
    if len(prompts) * best_of > MOST_CHOICES:
        raise unfit("prompt", f"with 'n' and 'best_of' it asks for more than {MOST_CHOICES:,} texts")
    max_tokens = MOST_TOKENS if given.get("max_tokens") is None else given.get("max_tokens")
    asked = Asked(
        raw=Raw(prompts=prompts, add_special_tokens=given.flag("add_special_tokens", default=True)),
        schema=read_format(given.get("response_format")),
        sampling=read_sampling(given),
        n=best_of,
        # Where nothing is to be written, a token is, to have read the prompt; it is not told.
        max_tokens=max(1, max_tokens),
        stops=read_stops(given.get("stop")),
        top_logprobs=0 if logprobs is None and best_of > n else logprobs,
        prompt_logprobs=logprobs if echo else None,
        return_token_ids=given.flag("return_token_ids", default=False),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
    )
    return TextAsked(asked=asked, n=n, echo=echo, silent=max_tokens == 0, logprobs=logprobs)


def _prompts(given: Any) -> list[str | Sequence[int] | None]:
    several = isinstance(given, Sequence) and not isinstance(given, str) and given and not isinstance(given[0], int)
    return list(given) if several else [given]
