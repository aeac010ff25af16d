"""The tokens that a model goes on from: of a conversation through the renderer that training uses, or as they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prompts.chat_format import render, template_of
from services.engines.local.speaker import Speaker
from services.engines.local.wanted import Asked, Raw
from services.errors import BadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompts_of(asked: Asked, speaker: Speaker) -> list[list[int]]:
    """Give the tokens of each prompt. Raises ChatFormatError, and BadRequest if there are none, or unknown ones."""
    if asked.raw is None:
        return [_conversation(asked, speaker.tokenizer)]
    found = [_tokens(prompt, asked.raw, speaker.tokenizer) for prompt in asked.raw.prompts]
    for tokens in found:
        if not tokens:
            raise BadRequest("A prompt comes to no tokens at all.", param="prompt")
        if max(tokens) >= speaker.vocabulary:
            raise BadRequest(f"The prompt names tokens beyond the model's {speaker.vocabulary:,}.", param="prompt")
    return found


def _tokens(prompt: str | Sequence[int] | None, raw: Raw, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    if isinstance(prompt, str):
        return list(tokenizer(prompt, add_special_tokens=raw.add_special_tokens)["input_ids"])
    if prompt is not None:
        return list(prompt)
    begins = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return [next((token for token in begins if token is not None), 0)]


def _conversation(asked: Asked, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
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
