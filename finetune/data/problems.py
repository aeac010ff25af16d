"""What is wrong with a training file: every finding with its place, its reason and its remedy.

A finding that many lines share is kept once with the list of its lines, so that a million bad lines
take megabytes, and so that people read one sentence and not a million.
"""

import heapq
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]

ERRORS = {
    "encoding": "Save the file as UTF-8.",
    "compressed": "Unpack it, and give the JSON or JSONL file that is inside.",
    "empty_file": "Write one JSON object per line, or an array of objects.",
    "nul": "Remove the NUL characters; they often come from a broken copy.",
    "json": "Correct this record; each line must hold one whole JSON object, or the file be one array of them.",
    "unread": "Correct the array, and check the file again.",
    "row_too_large": "Split the record; longer ones fit no model.",
    "nesting": "Remove the nesting; a message's content is text or a list of text parts.",
    "surrogate": "Write characters outside the basic plane as they are or as a full pair of escapes.",
    "duplicate_key": "Keep one of them; JSON readers would drop the others without a word.",
    "not_object": 'Make every record an object, such as {"messages": [...]}.',
    "unknown_format": 'Use one of the formats of finetune/README.md, such as {"messages": [...]}.',
    "raw_text": 'Write each text as a conversation with the answer to learn, such as {"messages": [...]}.',
    "mixed_formats": "Put records of one format into one file.",
    "wrong_method": "Give a file for this method, or choose the method that learns from this one.",
    "missing_key": "Add it.",
    "wrong_type": "Give it that type.",
    "empty_list": "Fill it, or remove the record.",
    "unknown_role": "Use system, developer, user, assistant or tool.",
    "media": "Remove it. Only text is trained, and nothing that a file points to is ever fetched.",
    "missing_content": "Give the message its text; only an assistant that calls tools may do without.",
    "empty_target": "Give the answer to learn, or set the message's weight to 0.",
    "empty_prompt": "Give the text to answer.",
    "nothing_trained": "Add an assistant message with text, of weight 1 or without a weight.",
    "last_not_assistant": "End with the assistant's answer, which is what is learned.",
    "prompt_answered": "End the prompt with the message to answer, and put the answer into the completions.",
    "weight": "Use 0 (read, not learned) or 1 (learned).",
    "function_call": "Write it as tool_calls, and its answer as a message of role tool.",
    "tool": 'Describe it as {"type": "function", "function": {"name": ..., "parameters": {...}}}.',
    "tool_call": 'Write it as {"id", "type": "function", "function": {"name", "arguments": a JSON text}}.',
    "tool_unasked": "Put it after the assistant's call, with the id of that call.",
    "tool_unanswered": "Add a message of role tool with the id of the call.",
    "no_common_prompt": "Let both conversations begin with the same messages and end with different answers.",
    "template": "Bring the conversation into the form that the model's chat template takes.",
    "empty_text": "Give it text, or remove the record.",
    "right_and_wrong": "Keep it on one side: a passage either answers the query or does not.",
    "cut_target": "Shorten the conversation, or raise the length limit.",
}

WARNINGS = {
    "byte_order_mark": "Nothing need be done: it is skipped. Other tools may stumble over it.",
    "unknown_key": "Remove it, or correct its name if it was meant to count.",
    "ignored_weight": "Remove it; only assistant messages are learned.",
    "ignored_name": "Nothing need be done, unless the names matter: most chat templates leave them out.",
    "empty_content": "Give it text, or remove the message.",
    "system_late": "Put it first; chat templates refuse it elsewhere, or leave it out.",
    "role_repeated": "Join the two messages; many chat templates want user and assistant to take turns.",
    "assistant_first": "Begin with what is answered; many chat templates refuse an answer to nothing.",
    "unknown_tool": "Describe it in the record's tools.",
    "no_preference": "Remove the record, or correct it: two equal answers teach nothing.",
    "one_label": "Add examples of the other label; there is nothing to tell apart.",
    "few_examples": "Add examples; OpenAI takes no fewer than 10, and a model hardly learns from so few.",
    "duplicate": "Remove the repetition, unless it is meant to weigh more.",
    "near_duplicate": "Look at both, and keep one if they say the same.",
    "in_validation": "Remove it from one of the files; otherwise the validation loss shows what was memorised.",
    "cut": "Shorten it, or raise the length limit.",
    "template_omits": "Check the rendered example: what is left out here is neither read nor learned.",
    "control_token": "Remove it, unless the model is meant to read it as its own mark.",
    "no_stop_token": "Use a chat template that ends an answer with a stop token, or the model will not stop.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing that is wrong; `field` is a path into the record, empty for the whole of it."""

    code: str
    field: str
    reason: str

    @property
    def severity(self) -> Severity:
        return "error" if self.code in ERRORS else "warning"

    @property
    def remedy(self) -> str:
        return ERRORS.get(self.code) or WARNINGS[self.code]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record begins: its line from 1 (0 is the file as a whole), in an array its index from 0 too."""

    line: int
    item: int | None = None

    def __str__(self) -> str:
        if self.line == 0:
            return "the file"
        return f"line {self.line}" if self.item is None else f"item {self.item} (line {self.line})"


WHOLE_FILE = Place(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding at one place."""

    severity: Severity
    code: str
    place: Place
    field: str
    reason: str
    remedy: str

    def sentence(self) -> str:
        """Give place, field and reason for people."""
        return f"{str(self.place).capitalize()}{', ' + self.field if self.field else ''}: {self.reason}."


def drawn_together(places: Sequence[Place], *, most: int | None = None) -> str:
    """Give places for people, neighbours drawn together: lines 1-3, 7. Beyond `most` runs they are only counted."""
    if places[0].line == 0:
        return "the file"
    in_array = places[0].item is not None
    runs: list[list[int]] = []
    for place in places:
        number = place.line if place.item is None else place.item
        if runs and number <= runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:most])
    if most is not None and len(runs) > most:
        text += f" and {sum(last - first + 1 for first, last in runs[most:]):,} more"
    word = "item" if in_array else "line"
    beginning = f" (line {places[0].line})" if in_array and len(places) == 1 else ""
    return f"{word}{'s' if len(places) > 1 else ''} {text}{beginning}"


class Problems:
    """All that is wrong with one file. Iterating gives every Problem, by line."""

    def __init__(self) -> None:
        self.errors = 0
        self.warnings = 0
        # Line and index of each place in turn; the index is one higher, 0 where there is none.
        self._places: dict[Finding, array[int]] = {}

    def add(self, finding: Finding, place: Place = WHOLE_FILE) -> None:
        if finding.severity == "error":
            self.errors += 1
        else:
            self.warnings += 1
        self._places.setdefault(finding, array("Q")).extend((place.line, 0 if place.item is None else place.item + 1))

    def __len__(self) -> int:
        return self.errors + self.warnings

    def __iter__(self) -> Iterator[Problem]:
        yield from heapq.merge(*map(self._expand, self._places), key=lambda problem: problem.place.line)

    def groups(self) -> Iterator[tuple[Finding, list[Place]]]:
        """Give each finding once with its places: errors before warnings, in the order in which they were met."""
        for severity in ("error", "warning"):
            for finding in self._places:
                if finding.severity == severity:
                    yield finding, self._where(finding)

    def _where(self, finding: Finding) -> list[Place]:
        flat = self._places[finding]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return sorted(Place(line, item - 1 if item else None) for line, item in pairs)

    def _expand(self, finding: Finding) -> Iterator[Problem]:
        for place in self._where(finding):
            yield Problem(
                severity=finding.severity,
                code=finding.code,
                place=place,
                field=finding.field,
                reason=finding.reason,
                remedy=finding.remedy,
            )
