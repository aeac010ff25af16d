"""The formats of training files: how each is told, which keys it has and what reads it.

A record is told by its keys. The first of FORMATS that has a mark wholly among them is it; marks ask
for less than the format needs, so that a record that lacks a key is still told and the key named.
"""

from collections.abc import Callable
from dataclasses import dataclass

from finetune.data.formats.labelled import read_alpaca_labelled, read_kto, read_labelled_conversation
from finetune.data.formats.pairs import (
    read_alpaca_pair,
    read_chosen_rejected,
    read_conversation_pair,
    read_message_pair,
    read_preferred_output,
)
from finetune.data.formats.retrieval import NEGATIVES, PASSAGES, read_anchored, read_question_context, read_retrieval
from finetune.data.formats.row import Row
from finetune.data.formats.supervised import (
    read_alpaca,
    read_chat,
    read_openorca,
    read_prompt_completion,
    read_sharegpt,
)
from finetune.types import METHODS, Example, Kind

_NEGATIVES = " ".join(NEGATIVES)
_PASSAGES = " ".join(PASSAGES)

MEDIA_KEYS = frozenset(("image", "images", "videos", "audios"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One layout of a record. `read` notes every problem in the row; what it gives counts only if none is an error."""

    name: str
    kind: Kind
    marks: tuple[frozenset[str], ...]
    keys: frozenset[str]
    read: Callable[[Row], Example]

    def told_by(self, keys: frozenset[str]) -> bool:
        return any(mark <= keys for mark in self.marks)

    @property
    def methods(self) -> list[str]:
        """The training methods that learn from it."""
        return [method for method, kind in METHODS.items() if kind is self.kind]


def _format(name: str, kind: Kind, read: Callable[[Row], Example], *, marks: str, keys: str) -> Format:
    """Make a format: marks stand between bars, keys between spaces."""
    return Format(
        name=name,
        kind=kind,
        marks=tuple(frozenset(mark.split()) for mark in marks.split("|")),
        keys=frozenset(keys.split()),
        read=read,
    )


FORMATS = (
    _format(
        "openai_preference",
        Kind.PREFERENCE,
        read_preferred_output,
        marks="preferred_output | non_preferred_output",
        keys="input preferred_output non_preferred_output",
    ),
    _format(
        "message_pair",
        Kind.PREFERENCE,
        read_message_pair,
        marks="chosen_messages | rejected_messages",
        keys="chosen_messages rejected_messages tools",
    ),
    _format(
        "sharegpt_preference",
        Kind.PREFERENCE,
        read_conversation_pair,
        marks="conversations chosen | conversations rejected | messages chosen | messages rejected",
        keys="conversations messages chosen rejected system tools",
    ),
    _format(
        "alpaca_preference",
        Kind.PREFERENCE,
        read_alpaca_pair,
        marks="instruction chosen | instruction rejected",
        keys="instruction input chosen rejected system history tools",
    ),
    _format(
        "preference",
        Kind.PREFERENCE,
        read_chosen_rejected,
        marks="chosen | rejected",
        keys="prompt chosen rejected system tools",
    ),
    _format(
        "sharegpt_kto",
        Kind.UNPAIRED,
        read_labelled_conversation,
        marks="conversations kto_tag | conversations label | messages kto_tag | messages label",
        keys="conversations messages label kto_tag system tools",
    ),
    _format(
        "alpaca_kto",
        Kind.UNPAIRED,
        read_alpaca_labelled,
        marks="instruction kto_tag | instruction label",
        keys="instruction input output label kto_tag system history",
    ),
    _format(
        "kto",
        Kind.UNPAIRED,
        read_kto,
        marks="completion label | prompt label | kto_tag",
        keys="prompt completion label kto_tag system tools",
    ),
    _format(
        "retrieval",
        Kind.RETRIEVAL,
        read_retrieval,
        marks="query passage | query positive | query pos | query negative | query negatives | query neg",
        keys=f"query {_PASSAGES} {_NEGATIVES}",
    ),
    _format(
        "anchored",
        Kind.RETRIEVAL,
        read_anchored,
        marks="anchor | positive negative",
        keys=f"anchor {_PASSAGES} {_NEGATIVES}",
    ),
    _format(
        "question_context",
        Kind.RETRIEVAL,
        read_question_context,
        marks="question context",
        keys=f"question context {_NEGATIVES}",
    ),
    _format("openai_chat", Kind.SUPERVISED, read_chat, marks="messages", keys="messages tools system"),
    _format("sharegpt", Kind.SUPERVISED, read_sharegpt, marks="conversations", keys="conversations system tools"),
    _format(
        "alpaca", Kind.SUPERVISED, read_alpaca, marks="instruction", keys="instruction input output system history"
    ),
    _format(
        "openorca",
        Kind.SUPERVISED,
        read_openorca,
        marks="question response | system_prompt question | system_prompt response",
        keys="system_prompt question response system",
    ),
    _format(
        "prompt_completion",
        Kind.SUPERVISED,
        read_prompt_completion,
        marks="prompt | completion",
        keys="prompt completion system tools",
    ),
)


def told_by(keys: frozenset[str]) -> Format | None:
    """Give the format of a record with these keys."""
    return next((one for one in FORMATS if one.told_by(keys)), None)
