"""Calls of functions read out of the text that a model writes, as it comes.

A call is one once its name and the beginning of its arguments are there; what departs from the template's form before
that is content, to the letter. Arguments are told as they are written: a model that is not held to a grammar may write
ones that are not JSON. What follows a call and is no other call is nothing that anybody asked for, and is not told.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from services.engines.local.frames import ANY, Frame
from services.engines.local.tools import NAME

_WANTED: Final = re.compile(NAME)
_NAME_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPiece:
    """A piece of a call's arguments; with its `name` the first of it."""

    index: int
    name: str | None = None
    arguments: str = ""


Heard: TypeAlias = "str | CallPiece"
"""A piece of content, or of a call."""

Found: TypeAlias = "int | Literal['partly', 'not']"
"""Where in a text an expected one ends; or that there is a part of it, or another."""


class Opening:
    """What shows in a text that calls begin: a frame's mark, or where that is empty its head, as a whole answer."""

    def __init__(self, frame: Frame, *, at_start: bool = False) -> None:
        self._mark = frame.mark
        self._head = frame.head
        self.at_start = at_start or not frame.mark

    def find(self, text: str) -> tuple[int, int] | None:
        """Give where it begins and ends."""
        if not self.at_start:
            place = text.find(self._mark)
            return None if place < 0 else (place, place + len(self._mark))
        end = follow(self._mark or self._head, text)
        return (0, end) if isinstance(end, int) else None

    def held(self, text: str) -> int:
        """Give how many characters at the end may be the beginning of it."""
        if self.at_start:
            return len(text) if follow(self._mark or self._head, text) == "partly" else 0
        lengths = (length for length in range(1, len(self._mark)) if text.endswith(self._mark[:length]))
        return max(lengths, default=0)


class CallReader:
    """Tells content and calls apart in one answer."""

    def __init__(self, frame: Frame, opening: Opening) -> None:
        self._frame = frame
        self._opening: Opening | None = opening
        # A frame without a mark is known by its head, so nothing but the name is left to come.
        self._head = frame.head if frame.mark else ""
        self._state: Literal["content", "name", "arguments", "after"] = "content"
        self._held = self._begun = ""
        self._count = 0
        self._scan = _Scan()

    @property
    def calls(self) -> int:
        """How many calls are whole."""
        return self._count - (self._state == "arguments")

    @property
    def is_within(self) -> bool:
        """Whether a call's arguments have begun and not ended."""
        return self._state == "arguments"

    def feed(self, text: str) -> Iterator[Heard]:
        """Give what is settled by a piece of text."""
        self._held += text
        before = None
        while before != (self._state, len(self._held), self._opening):
            before = (self._state, len(self._held), self._opening)
            yield from {
                "content": self._content, "name": self._name, "arguments": self._arguments, "after": self._after,
            }[self._state]()  # fmt: skip

    def finish(self, *, cut: bool) -> Iterator[Heard]:
        """Give the rest; of an answer that was `cut` off within the form of a call nothing more is told."""
        rest = self._begun + self._held
        if rest and self._state in ("content", "name") and self._count == 0 and not cut:
            yield rest

    def _content(self) -> Iterator[Heard]:
        found = self._opening.find(self._held) if self._opening else None
        if found is not None:
            start, end = found
            content, self._begun, self._held = self._held[:start], self._held[start:end], self._held[end:]
            self._state = "name"
        else:
            held = self._opening.held(self._held) if self._opening else 0
            content, self._held = self._held[: len(self._held) - held], self._held[len(self._held) - held :]
            if content and self._opening and self._opening.at_start:
                self._opening = None
        if content and self._count == 0:
            yield content

    def _name(self) -> Iterator[Heard]:
        begin = follow(self._head, self._held)
        named = _WANTED.match(self._held, begin) if isinstance(begin, int) else None
        end: Found = begin if begin == "partly" or (isinstance(begin, int) and begin == len(self._held)) else "not"
        if named is not None:
            end = follow(self._frame.between + "{", self._held[named.end() :])
            end = named.end() + end - 1 if isinstance(end, int) else end
        if isinstance(end, int) and named is not None:
            self._held, self._begun, self._state, self._scan = self._held[end:], "", "arguments", _Scan()
            self._count += 1
            yield CallPiece(index=self._count - 1, name=named.group())
        elif end == "not":
            yield from self._depart()

    def _depart(self) -> Iterator[Heard]:
        content, self._begun, self._state = self._begun, "", "content"
        if self._opening and self._opening.at_start:
            self._opening = None
        if content and self._count == 0:
            yield content

    def _arguments(self) -> Iterator[Heard]:
        end = self._scan.end(self._held)
        piece, self._held = self._held[:end], self._held[len(self._held) if end is None else end :]
        if end is not None:
            self._state = "after"
        if piece:
            yield CallPiece(index=self._count - 1, arguments=piece)

    def _after(self) -> Iterator[Heard]:
        link = follow(self._frame.link, self._held) if self._frame.link is not None else "not"
        if isinstance(link, int):
            self._held, self._head, self._state = self._held[link:], "", "name"
        elif link == "not" and follow(self._frame.tail, self._held) != "partly":
            self._head, self._state = self._frame.head if self._frame.mark else "", "content"
        yield from ()


class _Scan:
    """Finds the end of a JSON object by its brackets, whatever else is in it."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False

    def end(self, text: str) -> int | None:
        """Give where in the next piece of text the object ends, None if it goes on."""
        for place, character in enumerate(text):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = not self._escaped and character == "\\"
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return place + 1
        return None


def follow(expected: str, text: str) -> Found:
    """Say where an expected text ends in one that begins with it, white space in either being of no account."""
    place = 0
    for wanted in "".join(expected.split()):
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return "partly"
        if text[place] != wanted and not (wanted == ANY and text[place].isalnum()):
            return "not"
        place += 1
    return place
