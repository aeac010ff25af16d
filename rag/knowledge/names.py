"""By what key a name is known, however it is written: case, articles, possessives, simple plurals and blanks aside.

A question is not searched for names, which have no capitals there: every run of its words is looked up.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MAX_NAME_WORDS = 6
MAX_NAME_CHARS = 80
MAX_QUESTION_WORDS = 96
MAX_RUN_CHARS = 8

_WORD = re.compile(r"\w+(?:[.'’&/:-]\w+)*(?:\+\+|#)?")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_ARTICLES = frozenset({"the", "a", "an"})
_NOT_PLURAL = ("ss", "us", "is")
_SHORTEST_PLURAL = 4


@dataclass(frozen=True, slots=True)
class Named:
    """A run of words of a question that may be a name: its key, and which words it is, the end exclusive."""

    key: str
    start: int
    end: int


def key_of(name: str) -> str:
    """Give the key of a name; empty where it has no word."""
    words = _words(name)
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return _key(words)


def runs_of(question: str) -> list[Named]:
    """Give all runs of a question's words that could be names, the longest first. Where words have no spaces between
    them, runs of characters."""
    words = _words(question)[:MAX_QUESTION_WORDS]
    runs = [
        Named(_key(words[start : start + length]), start, start + length)
        for length in range(min(MAX_NAME_WORDS, len(words)), 0, -1)
        for start in range(len(words) - length + 1)
    ]
    return runs + list(_within(words))


def keys_within(text: str) -> set[str]:
    """Give the keys of all runs of words of a text, however long it is: what of it can be a name."""
    words = _words(text)
    runs = {
        _key(words[start:end])
        for start in range(len(words))
        for end in range(start + 1, min(start + MAX_NAME_WORDS, len(words)) + 1)
    }
    return runs | {run.key for run in _within(words)}


def longest(runs: list[Named], known: set[str]) -> list[str]:
    """Give the keys that are known, without those that lie within a longer one: of `new york city` not `york`."""
    taken: list[Named] = []
    for run in runs:
        if run.key in known and not any(one.start <= run.start and run.end <= one.end for one in taken):
            taken.append(run)
    return list(dict.fromkeys(run.key for run in taken))


def _words(text: str) -> list[str]:
    return [match[0] for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold())]


def _key(words: list[str]) -> str:
    if not words:
        return ""
    plain = [word.replace("’", "'").removesuffix("'s") for word in words]
    return " ".join((*plain[:-1], _singular(plain[-1])))


def _singular(word: str) -> str:
    """Take a plural's ending away. A name that only looks like one is treated alike wherever it stands."""
    if len(word) < _SHORTEST_PLURAL or not word.endswith("s") or word.endswith(_NOT_PLURAL):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("xes", "ches", "shes", "sses")) else word[:-1]


def _within(words: list[str]) -> Iterator[Named]:
    """Give the runs of characters of words that are sentences; as words they are alike in place and length."""
    for place, word in enumerate(words):
        for match in _UNSPACED.finditer(word):
            run = match[0]
            for length in range(min(MAX_RUN_CHARS, len(run) - 1), 1, -1):
                for start in range(len(run) - length + 1):
                    yield Named(run[start : start + length], place, place + 1)
