"""Readers of the formats that give two completions of a prompt, the better one named."""

from dataclasses import replace

from finetune.data.formats.conversation import Conversation, check_order
from finetune.data.formats.parts import alpaca_prompt, completion, prompt, untrained
from finetune.data.formats.row import Row
from finetune.data.formats.tools import read_tools
from finetune.data.formats.turns import read_turns
from finetune.types import Preference, Turn


def read_preferred_output(row: Row) -> Preference:
    """OpenAI's `input`, `preferred_output` and `non_preferred_output`."""
    given = Conversation()
    given.whole = False
    asked = None
    if "input" in row.value:
        asked = row.under(row.value["input"], row.at("input"))
    else:
        row.missing("input")
    if asked is not None:
        asked.only(frozenset(("messages", "tools")))
        given = prompt(asked, "messages")
    return _pair(row, given, "preferred_output", "non_preferred_output", asked or row)


def read_conversation_pair(row: Row) -> Preference:
    """`conversations` or `messages` as the prompt, and one message each in `chosen` and `rejected`."""
    key = "conversations" if "conversations" in row.value else "messages"
    return _pair(row, prompt(row, key), "chosen", "rejected", row)


def read_alpaca_pair(row: Row) -> Preference:
    """`instruction`, `input`, `chosen` and `rejected`."""
    return _pair(row, alpaca_prompt(row), "chosen", "rejected", row)


def read_chosen_rejected(row: Row) -> Preference:
    """`prompt`, `chosen` and `rejected`, texts or messages; without a prompt, two whole conversations."""
    if "prompt" not in row.value and isinstance(row.value.get("chosen"), list):
        return _split(row, "chosen", "rejected")
    return _pair(row, prompt(row, "prompt"), "chosen", "rejected", row)


def read_message_pair(row: Row) -> Preference:
    """`chosen_messages` and `rejected_messages`, two whole conversations."""
    return _split(row, "chosen_messages", "rejected_messages")


def _pair(row: Row, asked: Conversation, better: str, worse: str, tools_in: Row) -> Preference:
    chosen, rejected = completion(row, asked, better), completion(row, asked, worse)
    _check_differ(row, chosen.turns, rejected.turns, row.at(worse))
    return Preference(
        prompt=untrained(asked.turns),
        chosen=tuple(chosen.turns),
        rejected=tuple(rejected.turns),
        tools=read_tools(tools_in),
    )


def _split(row: Row, better: str, worse: str) -> Preference:
    """Take what two conversations begin with in common as the prompt."""
    chosen, rejected = read_turns(row, better), read_turns(row, worse)
    shared = _shared(chosen.turns, rejected.turns)
    asked = untrained(chosen.turns[:shared])
    for conversation, key in ((chosen, better), (rejected, worse)):
        if conversation.whole and conversation.turns:
            check_order(row, conversation)
            _check_continued(row, conversation, shared, row.at(key))
    _check_differ(row, chosen.turns, rejected.turns, row.at(worse))
    return Preference(
        prompt=asked,
        chosen=tuple(chosen.turns[shared:]),
        rejected=tuple(rejected.turns[shared:]),
        tools=read_tools(row),
    )


def _shared(first: list[Turn], second: list[Turn]) -> int:
    """Count the turns that both begin with; the last of each is never among them."""
    count = 0
    for one, other in zip(first[:-1], second[:-1], strict=False):
        if replace(one, trained=False) != replace(other, trained=False):
            break
        count += 1
    return count


def _check_continued(row: Row, conversation: Conversation, shared: int, path: str) -> None:
    if shared == 0 or conversation.turns[shared].role != "assistant":
        row.note("no_common_prompt", path, "the two conversations do not begin with the same question")
    last = conversation.turns[-1]
    if last.role != "assistant":
        row.note("last_not_assistant", conversation.paths[-1], f"the last message has the role {last.role}")
    elif not last.content.strip() and not last.tool_calls:
        row.note("empty_target", conversation.paths[-1], "the assistant's message is empty")


def _check_differ(row: Row, chosen: list[Turn], rejected: list[Turn], path: str) -> None:
    if chosen and chosen == rejected:
        row.note("no_preference", path, "is the same as the answer that is preferred to it")
