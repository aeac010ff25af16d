"""How a model's chat template writes calls of functions, found out by having it write some.

No table of models: a conversation with calls whose names and arguments are known is rendered, and what stands around
them is the frame. Templates that write the arguments as JSON are understood, whatever they put around it (Hermes and
Qwen's tags, Llama's bare object, Mistral's list, DeepSeek's and Harmony's tokens); others are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from prompts.chat_format import render, template_of
from prompts.errors import ChatFormatError
from services.errors import BadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANY: Final = "\ue0f3"
"""Stands in a frame for a letter or digit of a call's id, where the template writes that."""

_NAMES: Final = ("loam_probe_one", "loam_probe_two")
# Mistral's templates take ids of nine letters and digits only.
_IDS: Final = ("lOaMpRb01", "lOaMpRb02")
_ARGUMENTS: Final = ({"first": "a value"}, {"second": "another"})
_WORD: Final = "loam_probe_word"
_ASKED: Final = {"role": "user", "content": "Ask."}
_OBJECT: Final = re.compile(r"[\s\[]*\{\s*\"[^\"]*\"\s*:\s*\"$")
"""The beginning of an object, at the end of what stands before a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a template writes before a name, between name and arguments, and after these.

    `mark` shows that calls begin: empty where they are the whole answer. `head` is what comes before the first name
    after it, `link` goes on to another's name (None where a template writes one call only), `tail` ends the calls.
    """

    mark: str
    head: str
    between: str
    link: str | None
    tail: str

    @property
    def short_ids(self) -> bool:
        """Whether calls have ids of nine letters and digits, which the template insists on."""
        return ANY in self.tail + (self.link or "")

    def single(self) -> "Frame":
        return replace(self, link=None)


def frame_of(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Find how calls are written. Raises ChatFormatError, BadRequest where the template writes none that are JSON."""
    probing = _Probing(template_of(tokenizer, tools=True), tokenizer)
    if _NAMES[0] not in probing.asked:
        raise _unknown("does not tell the model of tools")
    head, between, rest = _parted(probing.calls(1), 0)
    tail = rest.removesuffix(probing.closing)
    mark = _OBJECT.sub("", head)
    special = next((token for token in sorted(_added(tokenizer), key=len) if mark.startswith(token)), mark)
    return Frame(
        mark=special,
        head=head.removeprefix(special),
        between=between,
        link=_link(probing, head, between, tail),
        tail=_without_id(tail),
    )


class _Probing:
    """A template, and what it makes of conversations. `closing` is what it writes after an answer."""

    def __init__(self, template: str, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._template = template
        self._tokenizer = tokenizer
        self.asked = self._text([_ASKED], prompt=True)
        plain = self._answer({"role": "assistant", "content": _WORD})
        # What stands before every answer, such as a thought that is left empty, is no part of a call.
        self._opening, _, self.closing = plain.partition(_WORD)

    def calls(self, count: int) -> str:
        """Give an answer of so many calls from where they begin. Raises ChatFormatError."""
        written = self._answer({"role": "assistant", "content": "", "tool_calls": _calls(count)})
        return written.removeprefix(self._opening).lstrip()

    def _answer(self, message: Mapping[str, Any]) -> str:
        text = self._text([_ASKED, message])
        same = next((place for place, (a, b) in enumerate(zip(text, self.asked, strict=False)) if a != b), None)
        return text[len(self.asked) if same is None else same :]

    def _text(self, messages: Sequence[Mapping[str, Any]], *, prompt: bool = False) -> str:
        tools = [{"type": "function", "function": {"name": _NAMES[0], "description": "", "parameters": _schema()}}]
        return render(
            messages, tools, self._template, self._tokenizer, learned=[False] * len(messages), prompt=prompt
        ).text


def _calls(count: int) -> list[dict[str, Any]]:
    return [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in list(zip(_IDS, _NAMES, _ARGUMENTS, strict=True))[:count]
    ]


def _schema() -> dict[str, Any]:
    return {"type": "object", "properties": {"first": {"type": "string"}}}


def _parted(written: str, call: int) -> tuple[str, str, str]:
    """Give what stands before a call's name, between it and the arguments, and after these. Raises BadRequest."""
    before, name, after = written.partition(_NAMES[call])
    for place in (found.start() for found in re.finditer(r"\{", after)):
        try:
            value, end = json.JSONDecoder().raw_decode(after, place)
        except ValueError:
            continue
        if name and value == _ARGUMENTS[call]:
            return before, after[:place], after[end:]
    raise _unknown("writes calls in a form that is not a name followed by JSON")


def _link(probing: _Probing, head: str, between: str, tail: str) -> str | None:
    """Give what stands between the arguments of a call and the name of the next, if the template writes two."""
    try:
        _, _, rest = _parted(probing.calls(2), 0)
        link, second, end = _parted(rest, 1)
    except (ChatFormatError, BadRequest):
        return None
    as_expected = second == between and _without_id(end.removesuffix(probing.closing)) == _without_id(tail)
    return _without_id(link) if as_expected else None


def _without_id(text: str) -> str:
    for known in _IDS:
        text = text.replace(known, ANY * len(known))
    return text


def _added(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    return [str(token) for token in tokenizer.added_tokens_decoder.values()]


def _unknown(problem: str) -> BadRequest:
    return BadRequest(
        f"The model's chat template {problem}: leave 'tools' out, set tool_choice to 'none', or choose another model.",
        param="tools",
        code="unsupported_parameter",
    )
