"""How many tokens an input comes to, by the tokenizer of the model that would read it.

Exact or refused: of a hosted model the tokenizer is not here, and a guess would be taken for a count.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError
from prompts.errors import ChatFormatError
from services.engines.engine import CountsTokens
from services.errors import BadRequest, NotReady
from services.wiring import Services

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_TOKENIZERS = 8


def count_input(
    services: Services,
    project_id: str,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Count the prompt that messages come to. Raises BadRequest where it cannot be known, NotFound, NotReady."""
    if not messages:
        raise BadRequest("There is nothing to count: give an 'input'.", param="input")
    route = services.router.resolve(project_id, model)
    if route.alias is not None and route.alias.vector_stores:
        raise BadRequest(
            f"The alias {model!r} answers from documents, which are not searched for a count: name its model.",
            param="model",
        )
    if isinstance(route.engine, CountsTokens):
        return route.engine.count_tokens(messages)
    source = services.router.tokenizer_of(project_id, route.model_id)
    if source is None:
        raise BadRequest(
            f"The model {route.model_id!r} is served by {route.engine.name}: its tokenizer is not here, and loam does "
            "not guess. The 'usage' of an answer says what was counted.",
            param="model",
            code="unsupported_endpoint",
        )
    return _rendered(source, messages, tools)


def _rendered(source: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    """Count as a local model reads: through its chat template, up to where it would go on."""
    from prompts.chat_format import render, template_of
    from services.engines.messages import plain_message

    plain = [plain_message(message, place) for place, message in enumerate(messages)]
    try:
        tokenizer = _tokenizer(source)
        template = template_of(tokenizer, tools=bool(tools))
        return len(render(plain, tools, template, tokenizer, prompt=True).token_ids)
    except ChatFormatError as exc:
        raise BadRequest(str(exc), param="input", code="chat_template") from exc
    except FinetuneError as exc:
        raise NotReady(str(exc), param="model", code="model_unavailable") from exc


@lru_cache(MOST_TOKENIZERS)
def _tokenizer(source: str) -> "PreTrainedTokenizerBase":
    from finetune.tokenizer import load_tokenizer

    return load_tokenizer(source)
