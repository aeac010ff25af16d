"""Splitting a question that needs several look-ups, and putting together what each of them found.

With a generator the model splits it (`prompts/decompose_question.jinja`). Without one only what is plainly two
questions is: two that each begin with a question word and name what they ask about. Whatever is in doubt stays whole.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from prompts.templates import Template
from rag.condense import points_back
from rag.errors import GeneratorFailed
from rag.ports import Generator
from rag.types import ChunkId, Hit
from rag.words import read

MAX_PARTS = 4
MAX_PART_CHARS = 500
MAX_REPLY_TOKENS = 400

_LISTED = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.):]|[a-d][.)])\s+", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_ASKING = r"(?:who|whom|whose|what|which|when|where|why|how)\b"
_BETWEEN_TWO = re.compile(rf"\?\s+(?:and\s+)?(?={_ASKING})|,?\s+and\s+(?={_ASKING})", re.IGNORECASE)
_BEGINS = re.compile(rf"\s*{_ASKING}", re.IGNORECASE)
_DEFINES = re.compile(r"\s*(?:what|who) (?:is|are|was|were)\b", re.IGNORECASE)
# What is asked of two things together is not asked of either.
_TOGETHER = re.compile(r"\b(between|both|either|whether|differ\w*|compar\w*|versus|vs|than|relat\w*)\b", re.IGNORECASE)


def decompose(question: str, *, template: Template, generator: Generator | None = None) -> tuple[str, ...]:
    """Give at most MAX_PARTS questions that ask together what the question does; itself alone where it is simple."""
    if generator is None:
        return _conjoined(question)
    message = template.message(question=question, most=MAX_PARTS)
    try:
        reply = generator.generate([message], max_tokens=MAX_REPLY_TOKENS)
    except GeneratorFailed:
        return (question,)
    parts = parts_of(reply, question)
    return parts if len(parts) > 1 else (question,)


def parts_of(reply: str, question: str) -> tuple[str, ...]:
    """Read the questions of a model's reply, a JSON list or one a line; empty where it holds none.

    A part without a content word of the question is not of it: an answer, a remark, or nonsense.
    """
    about = read(question).content
    found = (_LISTED.sub("", line).strip().strip("\"'").strip() for line in _lines(reply))
    parts = [part for part in found if 0 < len(part) <= MAX_PART_CHARS and not part.endswith(":")]
    unique: dict[str, str] = {}
    for part in parts:
        if read(part).content & about:
            unique.setdefault(part.casefold(), part)
    return tuple(unique.values())[:MAX_PARTS]


def merged(found: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Put the hits of several questions together: the best of each, then the second best of each, and so on.

    By score one question that is worded like its passages would crowd out the others. A passage comes once, where it is
    first met, with the scores of the question that it is best for. There are as many as one question found at most.
    """
    best: dict[ChunkId, Hit] = {}
    for hit in (hit for hits in found for hit in hits):
        known = best.get(hit.passage.chunk_id)
        best[hit.passage.chunk_id] = hit if known is None or hit.score > known.score else known
    in_turn = dict.fromkeys(hit.passage.chunk_id for hit in _in_turn(found))
    most = max(map(len, found), default=0)
    return [replace(best[chunk_id], rank=rank) for rank, chunk_id in enumerate(list(in_turn)[:most], 1)]


def _in_turn(found: Iterable[Sequence[Hit]]) -> Iterator[Hit]:
    return (hit for row in zip_longest(*found) for hit in row if hit is not None)


def _lines(reply: str) -> list[str]:
    """Give the entries of a JSON list wherever it stands in the reply, else its lines."""
    start, end = reply.find("["), reply.rfind("]")
    try:
        given = json.loads(reply[start : end + 1]) if start >= 0 else None
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        return [" ".join(one.split()) for one in given]
    return _FENCE.sub("", reply).splitlines()


def _conjoined(question: str) -> tuple[str, ...]:
    parts = [part.strip().rstrip("?") for part in _BETWEEN_TWO.split(question)]
    whole = not 1 < len(parts) <= MAX_PARTS or _TOGETHER.search(question) or not all(map(_stands_alone, parts))
    return (question,) if whole else tuple(f"{part}?" for part in parts)


def _stands_alone(part: str) -> bool:
    """Tell whether it is a question of its own: it asks, says what about, and leans on nothing before it."""
    content = [word for word in read(part).words if not word.is_function_word]
    enough = 1 if _DEFINES.match(part) else 2
    return bool(_BEGINS.match(part)) and len(content) >= enough and not points_back(part)
