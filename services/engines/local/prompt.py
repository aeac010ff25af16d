"""From a conversation to the tokens that a model goes on from, through the renderer that training uses."""

from typing import TYPE_CHECKING

from prompts.chat_format import render, template_of
from services.engines.local.wanted import Asked
from services.errors import BadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_of(asked: Asked, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Give the tokens of the prompt. Raises ChatFormatError, and BadRequest if there are none."""
    template = template_of(tokenizer, tools=bool(asked.tools))
    nothing_learned = [False] * len(asked.messages)
    rendered = render(
        asked.messages,
        asked.tools,
        template,
        tokenizer,
        learned=nothing_learned,
        prompt=asked.add_generation_prompt,
    )
    token_ids = rendered.token_ids
    if asked.continue_final_message:
        token_ids = tokenizer(_open_end(asked, rendered.text), add_special_tokens=False)["input_ids"]
    if not token_ids:
        raise BadRequest("The conversation comes to no text at all.", param="messages")
    return list(token_ids)


def _open_end(asked: Asked, text: str) -> str:
    """Cut off what the template writes after the last message's content, as transformers does."""
    # Templates may trim what they are given, at its end too.
    content = str(asked.messages[-1].get("content") or "").lstrip()
    place = text.rfind(content.rstrip())
    if not content or place < 0:
        raise BadRequest(
            "continue_final_message needs a last message whose text stands in the prompt as it is.",
            param="continue_final_message",
        )
    whole = text.startswith(content, place)
    return text[: place + len(content if whole else content.rstrip())]
