"""Turning a follow-up into a question that stands alone.

With a generator the model rewrites it (`prompts/condense_question.jinja`). Without one the words
that the follow-up leans on are taken from the conversation: a question that points back ("and how
long does it take?") is joined to the last question that did not.
"""

import re
from collections.abc import Sequence

from prompts.messages import Message
from prompts.templates import Template
from rag.errors import GeneratorFailed
from rag.ports import Generator

MAX_QUESTION_TOKENS = 200
MAX_TURNS = 6

_POINTING = re.compile(
    r"\b(it|its|they|them|their|theirs|he|him|his|she|her|hers|this|that|these|those|there|then|one|ones|"
    r"former|latter|same|such|else|other|another|more)\b",
    re.IGNORECASE,
)
_CONNECTING = re.compile(r"^\s*(and|but|so|or|also|then|what about|how about|why not)\b", re.IGNORECASE)
_ASKING = re.compile(r"^\s*(who|whom|whose|what|which|when|where|why|how)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def condense(
    question: str, conversation: Sequence[Message], *, template: Template, generator: Generator | None = None
) -> str:
    """Give the question in a form that needs no conversation; itself when there is none."""
    turns = [turn for turn in conversation if turn.role in ("user", "assistant") and turn.content.strip()]
    if not turns:
        return question
    if generator is None:
        return _joined(question, turns)
    message = template.message(conversation=turns[-MAX_TURNS:], question=question)
    try:
        return generator.generate([message], max_tokens=MAX_QUESTION_TOKENS).strip() or question
    except GeneratorFailed:
        return _joined(question, turns)


def _joined(question: str, turns: Sequence[Message]) -> str:
    if not points_back(question):
        return question
    asked = [turn.content for turn in turns if turn.role == "user"]
    standing = next((text for text in reversed(asked) if not points_back(text)), asked[0] if asked else "")
    return f"{standing} {question}".strip()


def points_back(question: str) -> bool:
    """Tell whether a question leans on what was said before it."""
    words = len(_WORD.findall(question))
    continues = words <= 6 and _CONNECTING.search(question)
    bare = words <= 2 and _ASKING.search(question)
    return bool(_POINTING.search(question) or continues or bare)
