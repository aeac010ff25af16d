"""Grammars that say which tokens may come next, by llguidance; made once for a tokenizer and a schema.

Its languages: Lark with JSON schemas in it (`%json`), special tokens by their number. Nothing is forced by it: which of
the tokens that fit comes next is for the model to say, also where only one text fits.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from services.engines.local.frames import ANY, Frame
from services.engines.local.schemas import ANY_OBJECT, unfit
from services.engines.local.tools import Function, Tools

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from transformers import PreTrainedTokenizerBase

_HEAD: Final = '%llguidance {"no_forcing": true}\n'
_STYLE: Final[Mapping[str, Any]] = {
    # A model that is lost in white space must find out of it.
    "whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,32}",
    # Without \u a key that was told of cannot be written a second time in another spelling.
    "json_allowed_escapes": 'nrbtf\\"',
}
_MOST_STATES: Final = 50_000
"""About 100 MB for a sequence, if it ever comes to that."""

_SAID: Final = re.compile(r"failed to compile JSON schema: (.*?)(?:\n   1 \||$)", re.DOTALL)


class Vocabulary:
    """A tokenizer's tokens as llguidance knows them.

    To make one holds the interpreter, for about a second with 128,000 tokens; to compile grammars for it does not.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        from llguidance.hf import from_tokenizer

        self.tokens: LLTokenizer = from_tokenizer(tokenizer)
        self._marks = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
        longest_first = sorted(self._marks, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, longest_first)) or "$.")

    def marks_in(self, frame: Frame) -> frozenset[int]:
        """Give the tokens of a frame that are more than text."""
        text = frame.mark + frame.head + frame.between + (frame.link or "") + frame.tail
        return frozenset(self._marks[mark] for mark in self._split.findall(text))

    def lark(self, text: str) -> str:
        """Give a text as a grammar has it: what are tokens of their own by their numbers."""
        parts, begin = [], 0
        for found in self._split.finditer(text):
            parts += [*_plain(text[begin : found.start()]), f"<[{self._marks[found.group()]}]>"]
            begin = found.end()
        return " ".join([*parts, *_plain(text[begin:])])


def answer_grammar(*, schema: Mapping[str, Any] | None, calls: str | None) -> str:
    """Give the grammar of an answer that is JSON of a schema, or calls, as `calls_rules` gives them, or either."""
    wanted = [name for name, given in (("answer", schema), ("calls", calls)) if given is not None]
    rules = f"start: {' | '.join(wanted)}\n" + (calls or "")
    return _HEAD + rules + (f"answer: {_json(schema)}\n" if schema is not None else "")


def calls_rules(vocabulary: Vocabulary, frame: Frame, tools: Tools, *, marked: bool) -> str:
    """Give the rules of calls: from the mark on, or where that is there already (`marked`), from after it."""
    begin = frame.head if marked else frame.mark + frame.head
    link = frame.link if tools.parallel else None
    more = f"({vocabulary.lark(link)} call)*" if link else ""
    rules = [f"calls: {vocabulary.lark(begin)} call {more} {vocabulary.lark(frame.tail)}"]
    rules.append("call: " + " | ".join(f"call{place}" for place in range(len(tools.functions))))
    for place, function in enumerate(tools.functions):
        named = vocabulary.lark(function.name + frame.between)
        rules.append(f"call{place}: {named} {_json(_arguments(function, tools), lenient=not function.strict)}")
    return "\n".join(rules) + "\n"


def matcher_of(vocabulary: Vocabulary, grammar: str, param: str) -> "LLMatcher":
    """Give the beginning of a grammar, to be copied. Raises BadRequest, naming what of a schema cannot be held to."""
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(max_lexer_states=_MOST_STATES, verbose_errors=False)
    matcher = LLMatcher(vocabulary.tokens, grammar, log_level=0, limits=limits)
    if matcher.is_error():
        said = _SAID.search(matcher.get_error())
        reason = " ".join((said.group(1) if said else matcher.get_error()).split())
        raise unfit(param, f"the schema asks for what answers cannot be held to: {reason}")
    return matcher


def _arguments(function: Function, tools: Tools) -> Mapping[str, Any]:
    """Give the schema that a call's arguments keep to: where a model may call and need not, only a strict one."""
    return function.parameters if function.strict or tools.required else ANY_OBJECT


def _json(schema: Mapping[str, Any], *, lenient: bool = False) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": {**_STYLE, "lenient": lenient}})


def _plain(text: str) -> Sequence[str]:
    """Give text in which a call's id may stand as parts of a grammar."""
    parts = [part for part in re.split(f"({ANY}+)", text) if part]
    return [f"/[A-Za-z0-9]{{{len(part)}}}/" if part[0] == ANY else json.dumps(part) for part in parts]
