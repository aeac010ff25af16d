"""Readers of the formats that give answers to imitate."""

from finetune.data.formats.conversation import check_supervised
from finetune.data.formats.parts import alpaca_prompt, completion, prompt, untrained
from finetune.data.formats.row import Row
from finetune.data.formats.tools import read_tools
from finetune.data.formats.turns import read_turns
from finetune.types import Supervised


def read_chat(row: Row) -> Supervised:
    """`messages`, and `tools`."""
    return _conversation(row, "messages")


def read_sharegpt(row: Row) -> Supervised:
    """`conversations`, with `system` and `tools`."""
    return _conversation(row, "conversations")


def read_alpaca(row: Row) -> Supervised:
    """`instruction`, `input` and `output`, with `system` and `history`, whose answers are learned too."""
    asked = alpaca_prompt(row)
    answer = completion(row, asked, "output")
    return Supervised(messages=(*asked.turns, *answer.turns))


def read_openorca(row: Row) -> Supervised:
    """`system_prompt`, `question` and `response`."""
    asked = prompt(row, "question")
    asked.begin(row.text("system_prompt"), row.at("system_prompt"))
    answer = completion(row, asked, "response")
    return Supervised(messages=(*asked.turns, *answer.turns))


def read_prompt_completion(row: Row) -> Supervised:
    """`prompt` and `completion`, texts or messages; only the completion is learned."""
    asked = prompt(row, "prompt")
    answer = completion(row, asked, "completion")
    return Supervised(messages=(*untrained(asked.turns), *answer.turns), tools=read_tools(row))


def _conversation(row: Row, key: str) -> Supervised:
    conversation = read_turns(row, key)
    conversation.begin(row.text("system"), row.at("system"))
    check_supervised(row, conversation, row.at(key))
    return Supervised(messages=tuple(conversation.turns), tools=read_tools(row))
