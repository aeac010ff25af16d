"""The parts that formats are made of: prompts and completions as texts, as one message or as many."""

from collections.abc import Iterable
from dataclasses import replace

from finetune.data.decode import described
from finetune.data.formats.conversation import Conversation, check_completed, check_prompt
from finetune.data.formats.row import Row
from finetune.data.formats.turns import read_turn, read_turns
from finetune.types import Turn
from prompts import Role


def text_or_turns(row: Row, key: str, role: Role) -> Conversation:
    """Read a field that is a text of that role, a message or a list of messages."""
    value = row.value.get(key)
    if isinstance(value, list):
        return read_turns(row, key)
    conversation = Conversation()
    if isinstance(value, str):
        conversation.say(role, value, row.at(key))
    elif isinstance(value, dict):
        read_turn(Row(value, row.at(key), row.findings), conversation)
    else:
        conversation.whole = False
        if key in row.value:
            row.note("wrong_type", row.at(key), f"is {described(value)}, not a string or a list of messages")
        else:
            row.missing(key)
    return conversation


def completion(row: Row, prompt: Conversation, key: str) -> Conversation:
    """Read and check what follows a prompt."""
    read = text_or_turns(row, key, "assistant")
    check_completed(row, prompt, read)
    return read


def prompt(row: Row, key: str) -> Conversation:
    """Read and check a prompt, with the system message that may be given apart."""
    read = text_or_turns(row, key, "user")
    read.begin(row.text("system"), row.at("system"))
    check_prompt(row, read, row.at(key))
    return read


def alpaca_prompt(row: Row) -> Conversation:
    """Read Alpaca's `system`, `history`, `instruction` and `input`; the last two are joined by a line break."""
    read = Conversation()
    read.begin(row.text("system"), row.at("system"))
    _history(row, read)
    instruction, context = row.needed_text("instruction"), row.text("input")
    read.whole = isinstance(row.value.get("instruction"), str)
    read.say("user", "\n".join(part for part in (instruction, context) if part), row.at("instruction"))
    check_prompt(row, read, row.at("instruction"))
    return read


def untrained(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Give the turns as a prompt, of which nothing is learned."""
    return tuple(replace(turn, trained=False) if turn.trained else turn for turn in turns)


def _history(row: Row, conversation: Conversation) -> None:
    history = row.value.get("history") or []
    pairs = history if isinstance(history, list) else [history]
    for index, pair in enumerate(pairs):
        path = f"{row.at('history')}[{index}]"
        match pair:
            case [str(question), str(answer)]:
                conversation.say("user", question, f"{path}[0]")
                conversation.say("assistant", answer, f"{path}[1]")
            case _:
                row.note("wrong_type", path, "is not a pair of a question and its answer")
