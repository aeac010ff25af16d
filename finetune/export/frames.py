"""What a chat template writes around the texts of messages, found by looking at what it writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, TypeAlias

from prompts.chat_format import render, template_of
from prompts.errors import ChatFormatError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Said: TypeAlias = tuple[str, str]
"""A message's role and text."""

Frame: TypeAlias = tuple[str, str]
"""What is written before a message's text, and after it."""

Write: TypeAlias = Callable[[Sequence[Said], bool], str]

_SYSTEM, _ASKED, _ANSWER, _AGAIN = "zsystemz", "zaskedz", "zanswerz", "zagainz"
_TALK = [("user", _ASKED), ("assistant", _ANSWER), ("user", _AGAIN), ("assistant", "zmorez"), ("user", "zlastz")]
_LED = [("system", _SYSTEM), *_TALK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A chat template that writes `begin`, then each message in its role's frame, then `prompt`.

    A system message has a frame of its own, or one `within` the first user message, before its text, or neither where
    the template refuses it. `default_system` is what is written where there is none.
    """

    begin: str
    user: Frame
    assistant: Frame
    prompt: str
    system: Frame | None = None
    within: Frame | None = None
    default_system: str | None = None

    def text(self, messages: Sequence[Said]) -> str:
        """Write a conversation that begins with a system message or a user's, up to where the model goes on."""
        system = next((text for role, text in messages if role == "system"), self.default_system)
        written, lead = self.begin, ""
        if system is not None:
            written += _framed(system, self.system)
            lead = _framed(system, self.within)
        for role, text in messages:
            if role != "system":
                before, after = self.user if role == "user" else self.assistant
                written += before + lead + text + after
                lead = ""
        return written + self.prompt

    def texts(self) -> Iterator[str]:
        """Give all that is written."""
        yield self.begin
        for frame in (self.user, self.assistant, self.system, self.within):
            yield from frame or ()
        yield self.prompt
        yield self.default_system or ""

    def begins_with(self, mark: str) -> bool:
        """Say whether every conversation begins with that."""
        first = self.begin or (self.system[0] if self.default_system is not None and self.system else "")
        return bool(mark) and first.startswith(mark)

    def without_beginning(self, mark: str) -> "Frames":
        """Leave a mark out that every conversation begins with."""
        if not self.begins_with(mark):
            return self
        if self.begin:
            return replace(self, begin=self.begin.removeprefix(mark))
        before, after = self.system or ("", "")
        return replace(self, system=(before.removeprefix(mark), after))


def frames_of(tokenizer: "PreTrainedTokenizerBase") -> Frames | None:
    """Find the frames of a model's chat template, None where it does more than to frame messages."""
    template = template_of(tokenizer)
    if "strftime_now" in template:
        # What it writes is another thing tomorrow.
        return None

    def written(said: Sequence[Said], prompt: bool = True) -> str:
        messages = [{"role": role, "content": text} for role, text in said]
        return render(messages, [], template, tokenizer, learned=[False] * len(messages), prompt=prompt).text

    try:
        frames = _with_system(_turns(written), written)
        probes = [_TALK[:1], _TALK[:3], _TALK]
        if frames.system or frames.within:
            probes += [_LED[:2], _LED[:4], _LED]
        same = all(frames.text(probe) == written(probe) for probe in probes)
    except (ChatFormatError, ValueError):
        return None
    return frames if same else None


def _turns(written: Write) -> Frames:
    """Find the frames of users and assistants. Raises ValueError if there are none."""
    begin, turn, again, end = _cut(written(_TALK[:3], True), _ASKED, _ANSWER, _AGAIN)
    after_user = _cut(written(_TALK[:1], False), _ASKED)[1]
    if not (turn.startswith(after_user) and end.startswith(after_user)):
        after_user = _common_prefix(turn, end)
    # Most templates end all messages in one way; else what both user messages have before them is the user's.
    after_answer = after_user
    if not (again.startswith(after_answer) and begin.endswith(again.removeprefix(after_answer))):
        after_answer = again.removesuffix(_common_suffix(begin, again))
    before_user = again.removeprefix(after_answer)
    return Frames(
        begin=begin.removesuffix(before_user),
        user=(before_user, after_user),
        assistant=(turn.removeprefix(after_user), after_answer),
        prompt=end.removeprefix(after_user),
    )


def _with_system(frames: Frames, written: Write) -> Frames:
    """Find where a system message stands. Raises ValueError if it is in no one place."""
    try:
        lead, between, _ = _cut(written(_LED[:2], True), _SYSTEM, _ASKED)
    except ChatFormatError:
        return frames
    before_user = frames.user[0]
    if not between.endswith(before_user) or not before_user:
        before = frames.begin + before_user
        if not lead.startswith(before):
            raise ValueError("a system message changes what comes before it")
        return replace(frames, within=(lead.removeprefix(before), between))
    after = between.removesuffix(before_user)
    if lead.startswith(frames.begin):
        return replace(frames, system=(lead.removeprefix(frames.begin), after))
    if frames.begin.startswith(lead) and frames.begin.endswith(after):
        said = frames.begin.removeprefix(lead).removesuffix(after)
        return replace(frames, begin="", system=(lead, after), default_system=said)
    raise ValueError("a system message takes the place of something that is none")


def _cut(text: str, *marks: str) -> list[str]:
    """Give what stands around marks that occur once each, in order. Raises ValueError."""
    parts = []
    for mark in marks:
        part, found, text = text.partition(mark)
        if not found or mark in text:
            raise ValueError(f"{mark!r} is not written once")
        parts.append(part)
    return [*parts, text]


def _common_prefix(one: str, other: str) -> str:
    pairs = zip(one, other, strict=False)
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _common_suffix(one: str, other: str) -> str:
    return _common_prefix(one[::-1], other[::-1])[::-1]


def _framed(text: str, frame: Frame | None) -> str:
    return "" if frame is None else f"{frame[0]}{text}{frame[1]}"
