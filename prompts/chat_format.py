"""Conversations as a model reads them: rendered through its chat template into tokens.

Training and serving render through `render`, and an adapter carries `template_hash`, so that a tuned
model is asked in the very form in which it was taught. The tokenizer is handed in: nothing here
imports transformers until something is rendered.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import jinja2

from prompts.errors import ChatFormatError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span: TypeAlias = tuple[int, int]
"""A part of the rendered text, in code points, end exclusive."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
# A private-use character: no template writes it and no text should.
_MARK = "\ue0f1"
_NONE: list[Span] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A conversation in tokens. `mask[i]` says whether token i is of an answer that is learned.

    `spans` are the parts of `text` that are learned; a token counts only if it lies wholly in one.
    """

    text: str
    token_ids: list[int]
    mask: list[bool]
    spans: tuple[Span, ...]


def template_of(tokenizer: "PreTrainedTokenizerBase", *, tools: bool = False) -> str:
    """Give the chat template of a model, where it has several the one for tools. Raises ChatFormatError."""
    found = tokenizer.chat_template
    if isinstance(found, dict):
        found = (found.get("tool_use") if tools else None) or found.get("default")
    if not found:
        name = tokenizer.name_or_path
        raise ChatFormatError(f"The model {name!r} has no chat template. Choose its instruct version, or give it one.")
    return str(found)


def template_hash(template: str) -> str:
    """Identify a chat template."""
    return hashlib.sha256(template.encode()).hexdigest()


def render(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    template: str,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    learned: Sequence[bool] | None = None,
    prompt: bool = False,
) -> Rendered:
    """Render messages (as the chat API has them, arguments of tool calls parsed) and mark what is learned.

    `learned` says so for each message; by default every assistant message is. With `prompt` the text
    ends where the model goes on, and nothing is marked. Raises ChatFormatError.
    """
    chat = _Chat(messages, tools, template, tokenizer)
    if learned is None:
        learned = [message["role"] == "assistant" for message in messages]
    text, spans = (chat.text(chat.messages, prompt=True), _NONE) if prompt else chat.marked(learned)
    token_ids, offsets = _tokens(text, tokenizer)
    return Rendered(text=text, token_ids=token_ids, mask=_mask(offsets, spans), spans=tuple(spans))


class _Chat:
    """One conversation, its template and what the template needs of the tokenizer."""

    def __init__(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        template: str,
        tokenizer: "PreTrainedTokenizerBase",
    ) -> None:
        self.messages = [_as_known(message, template) for message in messages]
        self._tools = list(tools) or None
        self._template = template
        self._special = tokenizer.special_tokens_map
        self._end_of_text = str(tokenizer.eos_token or "")

    def text(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool = False) -> str:
        return self._rendered(messages, prompt=prompt, marks=False)[0]

    def marked(self, learned: Sequence[bool]) -> tuple[str, list[Span]]:
        """Give the text and the spans of the assistant's messages that are learned."""
        turns = [index for index, message in enumerate(self.messages) if message["role"] == "assistant"]
        if _GENERATION.search(self._template):
            text, spans = self._rendered(self.messages, prompt=False, marks=True)
            wanted = [learned[index] for index in turns]
            if all(wanted):
                return text, spans
            if len(spans) == len(turns):
                return text, [span for span, want in zip(spans, wanted, strict=True) if want]
        text = self.text(self.messages)
        return text, [self._span(text, index) for index in turns if learned[index]]

    def _span(self, text: str, index: int) -> Span:
        """Find an answer by what the template writes before and after it."""
        before = self.text(self.messages[:index], prompt=True)
        if not text.startswith(before):
            raise ChatFormatError(
                f"The chat template rewrites what comes before message {index}, so its answer cannot be told apart. "
                "Use a template with {% generation %} marks."
            )
        whole = self.text(self.messages[: index + 1])
        end = len(whole) if text.startswith(whole) else self._rewritten_end(text, index)
        return len(before), _without_trailing_space(text, len(before), end)

    def _rewritten_end(self, text: str, index: int) -> int:
        """Find an answer's end where a template shortens earlier answers, as those that think do.

        With a mark in place of the answer, what follows the mark is what follows the answer.
        """
        answer = {**self.messages[index], "content": _MARK}
        alone = self.text([*self.messages[:index], answer])
        within = self.text([*self.messages[:index], answer, *self.messages[index + 1 :]])
        closing = alone.partition(_MARK)[2]
        rest = within.partition(_MARK)[2]
        if not rest.startswith(closing):
            # Some templates put the end-of-text token after the last message only.
            closing = closing.removesuffix(self._end_of_text)
        after = rest[len(closing) :]
        end = len(text) - len(after)
        if not closing or not rest.startswith(closing) or not text[:end].endswith(closing) or text[end:] != after:
            raise ChatFormatError(
                f"The chat template does not show where message {index} ends. "
                "Use a template with {% generation %} marks."
            )
        return end

    def _rendered(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool, marks: bool) -> tuple[str, list[Span]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, spans = render_jinja_template(
                conversations=[messages],
                tools=self._tools,
                chat_template=self._template,
                return_assistant_tokens_mask=marks,
                add_generation_prompt=prompt,
                **self._special,
            )
        except (jinja2.TemplateError, TypeError, KeyError, ValueError) as exc:
            raise ChatFormatError(f"The chat template refuses the conversation: {exc}.") from exc
        return texts[0], list(spans[0]) if marks else []


def _as_known(message: Mapping[str, Any], template: str) -> dict[str, Any]:
    """OpenAI's newer name for the system role is unknown to most templates, some of which leave it out unsaid."""
    # Templates know a field that is absent, but write a null out as "None".
    known = {key: value for key, value in message.items() if value is not None}
    if known["role"] == "developer" and "developer" not in template:
        known["role"] = "system"
    return known


def _without_trailing_space(text: str, start: int, end: int) -> int:
    """What stands after the stop token (most often a line break) is never generated, so it is not learned."""
    return start + len(text[start:end].rstrip())


def _tokens(text: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[Span]]:
    if not tokenizer.is_fast:
        raise ChatFormatError("The model's tokenizer is of the slow kind, which cannot say where a token lies.")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def _mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """Both are in order, so one pass finds the span of each token. Empty tokens are never learned."""
    mask = []
    left = iter(spans)
    span = next(left, None)
    for start, end in offsets:
        while span is not None and span[1] <= start:
            span = next(left, None)
        mask.append(span is not None and span[0] <= start < end <= span[1])
    return mask
