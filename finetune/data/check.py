"""Checks a training file before anything runs: all that is wrong with it, and what it amounts to.

One pass reads, measures and fingerprints every example; those that may nearly repeat others are then
read again to be compared. Every record is either an example or has an error.
"""

from dataclasses import dataclass
from pathlib import Path

from finetune.data.dataset import Dataset, Reading
from finetune.data.duplicates import Repeat, Repeats
from finetune.data.lengths import Length, Lengths, Meter, Shown
from finetune.data.problems import Finding, Place, Problems
from finetune.errors import InvalidDataset
from finetune.types import METHODS, Example, Unpaired

FEW_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of one file. `sample` is its first example as the model reads it.

    `records` counts all that the file holds, `examples` those without an error, `cut` those that are
    over `limit`. `dataset` is there if there are no errors.
    """

    path: Path
    format: str | None
    kind: str | None
    records: int
    examples: int
    problems: Problems
    lengths: Lengths
    exact: bool
    limit: int | None
    cut: int
    sample: list[Shown]
    dataset: Dataset | None


def check(
    path: Path, *, meter: Meter, method: str | None = None, validation: Path | None = None, limit: int | None = None
) -> tuple[Report, Report | None]:
    """Check a training file, and the validation file that goes with it.

    `meter` measures examples (Estimate or TemplateMeter), `method` is one of METHODS, `limit` the
    number of tokens that a sequence is cut to. Raises UnreadableFile.
    """
    repeats = Repeats()
    training = _Check(path, meter, limit)
    training.run(repeats)
    training.judge(method)
    if training.records < FEW_EXAMPLES and not training.problems.errors:
        training.note("few_examples", f"holds {training.records} examples")
    held_out = _Check(validation, meter, limit) if validation is not None else None
    if held_out is not None:
        held_out.run(repeats)
        held_out.judge(method, like=training)
    _note_repeats(repeats, training, held_out)
    return training.report(), held_out.report() if held_out is not None else None


class _Check:
    """One file under check."""

    def __init__(self, path: Path, meter: Meter, limit: int | None) -> None:
        self.reading = Reading(path)
        self.problems = self.reading.problems
        self._path, self._meter, self._limit = path, meter, limit
        self._lengths = Lengths()
        self._cut = 0
        self._unfit = 0
        self._sample: list[Shown] = []
        self._labels: set[bool] = set()

    @property
    def records(self) -> int:
        return self.reading.records

    def note(self, code: str, reason: str) -> None:
        self.problems.add(Finding(code, "", reason))

    def run(self, repeats: Repeats) -> None:
        for place, example in self.reading:
            errors = self.problems.errors
            repeats.add(example)
            if isinstance(example, Unpaired):
                self._labels.add(example.label)
            length, findings = self._meter.measure(example, self._limit)
            for finding in findings:
                self.problems.add(finding, place)
            if length is not None:
                self._count(example, place, length)
            self._unfit += self.problems.errors > errors

    def judge(self, method: str | None, like: "_Check | None" = None) -> None:
        """Note what is wrong with the file as a whole."""
        told = self.reading.format
        if told is None:
            return
        if method is not None and told.kind is not METHODS[method]:
            self.note("wrong_method", f"is a file for {' or '.join(told.methods)}, and the method is {method}")
        wanted = like.reading.format if like is not None else None
        if wanted is not None and told.kind is not wanted.kind:
            self.note("wrong_method", f"holds {told.kind} examples, and the training file {wanted.kind} ones")
        if len(self._labels) == 1:
            self.note("one_label", f"the label of every example is {str(*self._labels).lower()}")

    def report(self) -> Report:
        told = self.reading.format
        try:
            dataset = self.reading.dataset()
        except InvalidDataset:
            dataset = None
        return Report(
            path=self._path,
            format=told.name if told else None,
            kind=told.kind.value if told else None,
            records=self.records,
            examples=len(self.reading.examples) - self._unfit,
            problems=self.problems,
            lengths=self._lengths,
            exact=self._meter.exact,
            limit=self._limit,
            cut=self._cut,
            sample=self._sample,
            dataset=dataset,
        )

    def _count(self, example: Example, place: Place, length: Length) -> None:
        self._lengths.add(length)
        if not self._sample:
            self._sample = self._meter.show(example)
        if self._limit is None or length.longest <= self._limit:
            return
        self._cut += 1
        about = "" if self._meter.exact else ", by an estimate"
        if length.emptied:
            # An estimate is no ground to refuse a file.
            reason = f"the limit of {self._limit} tokens cuts everything that is to be learned{about}"
            self.problems.add(Finding("cut_target" if self._meter.exact else "cut", "", reason), place)
        else:
            self.problems.add(Finding("cut", "", f"is over {self._limit} tokens, and its end is cut{about}"), place)


def _note_repeats(repeats: Repeats, training: _Check, held_out: _Check | None) -> None:
    """Note repetition within each file, and of the training file in the validation file."""
    count = len(training.reading.examples)

    def owner(index: int) -> tuple[_Check, int]:
        if held_out is None or index < count:
            return training, index
        return held_out, index - count

    def example_of(index: int) -> Example:
        file, position = owner(index)
        return file.reading.examples[position]

    def note(repeat: Repeat, code: str, verb: str) -> None:
        file, position = owner(repeat.index)
        first, earlier = owner(repeat.earlier)
        where = str(first.reading.examples.place(earlier))
        if file is not first:
            code, where = "in_validation", f"{where} of the training file"
        file.problems.add(Finding(code, "", f"{verb} {where}"), file.reading.examples.place(position))

    for repeat in repeats.exact():
        note(repeat, "duplicate", "repeats")
    for repeat in repeats.near(example_of):
        note(repeat, "near_duplicate", "nearly repeats")
