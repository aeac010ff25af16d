"""How long examples are in tokens: counted through a model's chat template, or estimated without one."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from finetune.data.problems import Finding
from finetune.types import Example, Retrieval, Turn, sequences
from prompts.chat_format import Rendered, Span, render, template_of
from prompts.errors import ChatFormatError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# English text has about four bytes to a token; a message's frame takes about four tokens.
BYTES_PER_TOKEN = 4
FRAME_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The size of one example: `longest` is its longest sequence, the others are sums; a pair has two sequences.

    `lost` is what a length limit cuts of `trained`: a sequence loses its end. `emptied` says that
    it leaves a sequence without a trained token.
    """

    tokens: int
    longest: int
    trained: int
    lost: int
    emptied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An example as text, with the spans of it that are learned."""

    text: str
    spans: tuple[Span, ...]


class Meter(Protocol):
    """Measures examples. `exact` says whether tokens are counted or estimated."""

    @property
    def exact(self) -> bool: ...

    def measure(self, example: Example, limit: int | None) -> tuple[Length | None, list[Finding]]:
        """Give the size of an example, if it can be rendered, and what is wrong with how it is."""

    def show(self, example: Example) -> list[Shown]:
        """Give each sequence of an example as text."""


class Estimate:
    """Sizes from the number of bytes, for want of a model."""

    exact = False

    def measure(self, example: Example, limit: int | None) -> tuple[Length, list[Finding]]:
        parts = []
        for turns in sequences(example):
            sizes = [FRAME_TOKENS + -(-_bytes(turn) // BYTES_PER_TOKEN) for turn in turns]
            mask = [turn.trained for turn, size in zip(turns, sizes, strict=True) for _ in range(size)]
            parts.append(mask)
        return _length(parts, limit), []

    def show(self, example: Example) -> list[Shown]:
        return _texts(example) if isinstance(example, Retrieval) else [_plain(turns) for turns in sequences(example)]


class TextMeter:
    """Sizes of what an embedder reads: each text by itself, as the tokenizer cuts it."""

    exact = True

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer

    def measure(self, example: Example, limit: int | None) -> tuple[Length, list[Finding]]:
        turns = [turn for alone in sequences(example) for turn in alone]
        ids = self._tokenizer([turn.content for turn in turns], truncation=False, verbose=False)["input_ids"]
        masks = [[turn.trained] * len(one) for turn, one in zip(turns, ids, strict=True)]
        return _length(masks, limit), []

    def show(self, example: Example) -> list[Shown]:
        return _texts(example) if isinstance(example, Retrieval) else []


class TemplateMeter:
    """Sizes of what a model reads. Raises ChatFormatError if the model has no chat template."""

    exact = True

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._templates = {tools: template_of(tokenizer, tools=tools) for tools in (False, True)}
        special = {number: mark.content for number, mark in tokenizer.added_tokens_decoder.items() if mark.special}
        self._special = frozenset(special)
        self._marks = [mark for mark in special.values() if len(mark) > 1]

    def measure(self, example: Example, limit: int | None) -> tuple[Length | None, list[Finding]]:
        try:
            rendered = self._render(example)
        except ChatFormatError as exc:
            return None, [Finding("template", "", str(exc).rstrip("."))]
        findings = [
            finding
            for turns, one in zip(sequences(example), rendered, strict=True)
            for finding in self._faults(turns, one)
        ]
        if example.tools and "tools" not in self._templates[True]:
            findings.append(Finding("template_omits", "tools", "the chat template knows no tools"))
        return _length([one.mask for one in rendered], limit), list(dict.fromkeys(findings))

    def show(self, example: Example) -> list[Shown]:
        return [Shown(text=one.text, spans=one.spans) for one in self._render(example)]

    def _render(self, example: Example) -> list[Rendered]:
        template = self._templates[bool(example.tools)]
        return [
            render(
                [turn.wire() for turn in turns],
                example.tools,
                template,
                self._tokenizer,
                learned=[turn.trained for turn in turns],
            )
            for turns in sequences(example)
        ]

    def _faults(self, turns: Sequence[Turn], rendered: Rendered) -> list[Finding]:
        learned = "".join(rendered.text[start:end] for start, end in rendered.spans)
        found = []
        for index, turn in enumerate(turns):
            said = (turn.content.strip(), *(call.name for call in turn.tool_calls))
            if any(part not in (learned if turn.trained else rendered.text) for part in said):
                reason = "is changed or left out by the chat template"
                found.append(Finding("template_omits", f"message {index}", reason))
            for mark in self._marks:
                if mark in turn.content:
                    reason = f"holds {mark!r}, which the model reads as its own mark"
                    found.append(Finding("control_token", f"message {index}", reason))
        return [*found, *self._ending_faults(rendered)]

    def _ending_faults(self, rendered: Rendered) -> list[Finding]:
        if not any(rendered.mask):
            return [Finding("nothing_trained", "", "the chat template leaves nothing to learn")]
        last = max(position for position, learned in enumerate(rendered.mask) if learned)
        if self._stops(rendered, last):
            return []
        return [Finding("no_stop_token", "", "the last answer does not end with a stop token that is learned")]

    def _stops(self, rendered: Rendered, last: int) -> bool:
        """A template's own marks may put a line break after the stop token."""
        tail = rendered.token_ids[max(0, last - 1) : last + 1]
        return any(token in self._special for token in tail)


class Lengths:
    """The lengths of a file's examples, kept in 16 bytes each."""

    def __init__(self) -> None:
        self.longest: array[int] = array("Q")
        self.tokens = 0
        self.trained = 0
        self.lost = 0

    def add(self, length: Length) -> None:
        self.longest.append(length.longest)
        self.tokens += length.tokens
        self.trained += length.trained
        self.lost += length.lost

    def quantile(self, share: float) -> int:
        """Give the length that this share of the examples do not exceed."""
        ordered = sorted(self.longest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0

    def histogram(self) -> list[tuple[int, int]]:
        """Give (upper bound, examples up to it and over half of it), bounds being powers of two."""
        counts: dict[int, int] = {}
        for length in self.longest:
            bound = 1 << max(4, (length - 1).bit_length())
            counts[bound] = counts.get(bound, 0) + 1
        return [(1 << power, counts.get(1 << power, 0)) for power in _powers(counts)]


def _powers(counts: dict[int, int]) -> range:
    bits = [bound.bit_length() - 1 for bound in counts]
    return range(min(bits), max(bits) + 1) if bits else range(0)


def _length(masks: Sequence[Sequence[bool]], limit: int | None) -> Length:
    trained = [sum(mask) for mask in masks]
    kept = [sum(mask[:limit]) for mask in masks]
    return Length(
        tokens=sum(map(len, masks)),
        longest=max(map(len, masks)),
        trained=sum(trained),
        lost=sum(trained) - sum(kept),
        emptied=any(had and not left for had, left in zip(trained, kept, strict=True)),
    )


def _texts(example: Retrieval) -> list[Shown]:
    """Give query and passages, those that are right being what is learned."""
    said = [("query", example.query)]
    said += [("passage", text) for text in example.passages] + [("not", text) for text in example.negatives]
    text, spans = "", []
    for name, value in said:
        text += f"{name}: "
        if name == "passage":
            spans.append((len(text), len(text) + len(value)))
        text += f"{value}\n"
    return [Shown(text=text, spans=tuple(spans))]


def _bytes(turn: Turn) -> int:
    calls = sum(len(call.name) + len(call.arguments.encode()) for call in turn.tool_calls)
    return len(turn.content.encode()) + calls


def _plain(turns: Sequence[Turn]) -> Shown:
    text, spans = "", []
    for turn in turns:
        text += f"{turn.role}: "
        said = "\n".join([turn.content, *(f"{call.name}({call.arguments})" for call in turn.tool_calls)]).strip()
        if turn.trained:
            spans.append((len(text), len(text) + len(said)))
        text += f"{said}\n"
    return Shown(text=text, spans=tuple(spans))
