"""A training file in tokens: the rows that a trainer learns from, rendered as serving renders.

A row holds, by the kind of its example, token ids and what is learned of them:

    supervised  input_ids, labels                                    -100 where nothing is learned
    preference  chosen_ids, chosen_mask, rejected_ids, rejected_mask whole conversations
    unpaired    prompt_ids, completion_ids, completion_mask, label   the prompt ends where learning begins

Sequences over the length limit lose their end. Rows are written to a file that is mapped, not read, so a training
file may be larger than memory. No example is dropped: one that leaves nothing to learn is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from finetune.data.dataset import Dataset, Reading
from finetune.data.problems import Finding
from finetune.errors import InvalidDataset
from finetune.types import METHODS, Example, Kind, Preference, Supervised, Tool, Turn, Unpaired
from prompts.chat_format import render, template_of
from prompts.errors import ChatFormatError

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that is not learned, as torch's cross entropy has it."""

Row: TypeAlias = dict[str, Any]

COLUMNS = {
    Kind.SUPERVISED: {"input_ids": "int32", "labels": "int32"},
    Kind.PREFERENCE: {
        "chosen_ids": "int32",
        "chosen_mask": "bool",
        "rejected_ids": "int32",
        "rejected_mask": "bool",
    },
    Kind.UNPAIRED: {"prompt_ids": "int32", "completion_ids": "int32", "completion_mask": "bool"},
}
"""The columns of each kind that are lists; rows of unpaired examples have `label` beside."""


class NothingLearned(Exception):
    """An example leaves no token to learn; `code` is the problem's."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A file in tokens: `rows[i]` is of `file.examples[i]`.

    `lengths[i]` is the tokens of its longest sequence, after the cut. `learned` counts the tokens that are learned in
    one epoch, `cut` the examples that lost their end.
    """

    file: Dataset
    rows: "datasets.Dataset"
    lengths: Sequence[int]
    learned: int
    cut: int

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def longest_rows(self, count: int) -> list[Row]:
        """Give the rows that take the most memory together."""
        ranked = sorted(range(len(self.lengths)), key=self.lengths.__getitem__, reverse=True)
        return [self.rows[index] for index in ranked[:count]]


class Encoder:
    """Turns examples into rows. `limit` is in tokens; with `learn_all` every token of a conversation is learned."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", *, limit: int | None = None, learn_all: bool = False
    ) -> None:
        self._tokenizer, self._limit, self._learn_all = tokenizer, limit, learn_all
        self._templates = {tools: template_of(tokenizer, tools=tools) for tools in (False, True)}
        self.learned = 0
        self.cut = 0

    def row(self, example: Example) -> Row:
        """Give the row of an example. Raises ChatFormatError, NothingLearned."""
        before = self.cut
        match example:
            case Supervised():
                ids, mask = self._sequence(example.messages, example.tools)
                labels = [token if learned else IGNORED for token, learned in zip(ids, mask, strict=True)]
                row: Row = {"input_ids": ids, "labels": labels}
            case Preference():
                chosen = self._sequence(example.prompt + example.chosen, example.tools)
                rejected = self._sequence(example.prompt + example.rejected, example.tools)
                row = dict(zip(COLUMNS[Kind.PREFERENCE], (*chosen, *rejected), strict=True))
            case Unpaired():
                ids, mask = self._sequence(example.prompt + example.completion, example.tools)
                start = mask.index(True)
                row = {"prompt_ids": ids[:start], "completion_ids": ids[start:], "completion_mask": mask[start:]}
                row["label"] = example.label
        self.cut = min(self.cut, before + 1)
        return row

    def _sequence(self, turns: Sequence[Turn], tools: Sequence[Tool]) -> tuple[list[int], list[bool]]:
        rendered = render(
            [turn.wire() for turn in turns],
            tools,
            self._templates[bool(tools)],
            self._tokenizer,
            learned=[turn.trained for turn in turns],
        )
        ids, mask = rendered.token_ids, rendered.mask
        if self._learn_all:
            mask = [True] * len(ids)
        # A first token follows nothing, so that nothing is learned of it.
        learned = sum(mask[1 : self._limit])
        if not learned:
            whole = any(mask[1:])
            raise NothingLearned(
                "cut_target" if whole else "nothing_trained",
                f"the limit of {self._limit} tokens cuts everything that is to be learned"
                if whole
                else "the chat template leaves nothing to learn",
            )
        self.learned += learned
        self.cut += self._limit is not None and len(ids) > self._limit
        return ids[: self._limit], mask[: self._limit]


def encode(path: Path, encoder: Encoder, *, method: str, into: Path) -> Tokens:
    """Write a file's rows to `into`. Raises InvalidDataset with every problem, UnreadableFile."""
    reading = Reading(path)
    kind = METHODS[method]
    lengths: list[int] = []
    learned, cut = encoder.learned, encoder.cut
    _write(into, kind, _rows(reading, encoder, kind, lengths))
    if reading.format is not None and reading.format.kind is not kind:
        reason = f"is a file for {' or '.join(reading.format.methods)}, and the method is {method}"
        reading.problems.add(Finding("wrong_method", "", reason))
    if reading.problems.errors:
        raise InvalidDataset(path.name, reading.problems)
    return Tokens(
        file=reading.dataset(),
        rows=_mapped(into),
        lengths=lengths,
        learned=encoder.learned - learned,
        cut=encoder.cut - cut,
    )


def length_of(row: Row) -> int:
    """Give the tokens of a row's longest sequence."""
    if "prompt_ids" in row:
        return len(row["prompt_ids"]) + len(row["completion_ids"])
    return max(len(row[column]) for column in ("input_ids", "chosen_ids", "rejected_ids") if column in row)


def _rows(reading: Reading, encoder: Encoder, kind: Kind, lengths: list[int]) -> Iterator[Row]:
    """Give the row of each example of the kind, and note all that cannot become one."""
    for place, example in reading:
        if reading.format is None or reading.format.kind is not kind:
            continue
        try:
            row = encoder.row(example)
        except ChatFormatError as exc:
            reading.problems.add(Finding("template", "", str(exc).rstrip(".")), place)
        except NothingLearned as exc:
            reading.problems.add(Finding(exc.code, "", str(exc)), place)
        else:
            lengths.append(length_of(row))
            yield row


def _write(path: Path, kind: Kind, rows: Iterator[Row]) -> None:
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    columns = {name: List(Value(dtype)) for name, dtype in COLUMNS[kind].items()}
    if kind is Kind.UNPAIRED:
        columns["label"] = Value("bool")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArrowWriter(features=Features(columns), path=str(path)) as writer:
        for row in rows:
            writer.write(row)
        writer.finalize()


def _mapped(path: Path) -> "datasets.Dataset":
    from datasets import Dataset as Mapped

    return Mapped.from_file(str(path))
