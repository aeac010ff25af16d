"""Readers of the formats that give one completion of a prompt and say whether it is good."""

from finetune.data.formats.conversation import check_supervised
from finetune.data.formats.parts import alpaca_prompt, completion, prompt, untrained
from finetune.data.formats.row import Row
from finetune.data.formats.tools import read_tools
from finetune.data.formats.turns import read_turns
from finetune.types import Unpaired


def read_kto(row: Row) -> Unpaired:
    """`prompt`, `completion` and `label`, texts or messages."""
    asked = prompt(row, "prompt")
    answer = completion(row, asked, "completion")
    return Unpaired(
        prompt=untrained(asked.turns), completion=tuple(answer.turns), label=_label(row), tools=read_tools(row)
    )


def read_labelled_conversation(row: Row) -> Unpaired:
    """`messages` or `conversations`, the last of which is judged, and `label` or `kto_tag`."""
    key = "conversations" if "conversations" in row.value else "messages"
    conversation = read_turns(row, key)
    conversation.begin(row.text("system"), row.at("system"))
    check_supervised(row, conversation, row.at(key))
    turns = conversation.turns
    if conversation.whole and len(turns) == 1:
        row.note("empty_prompt", row.at(key), "there is nothing to answer")
    return Unpaired(
        prompt=untrained(turns[:-1]), completion=tuple(turns[-1:]), label=_label(row), tools=read_tools(row)
    )


def read_alpaca_labelled(row: Row) -> Unpaired:
    """`instruction`, `input`, `output` and `label` or `kto_tag`."""
    asked = alpaca_prompt(row)
    answer = completion(row, asked, "output")
    return Unpaired(prompt=untrained(asked.turns), completion=tuple(answer.turns), label=_label(row))


def _label(row: Row) -> bool:
    return row.truth("kto_tag" if "kto_tag" in row.value else "label")
