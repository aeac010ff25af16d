"""A conversation being read, and the rules that its order must keep.

What no model can learn from is an error. What OpenAI takes but many chat templates refuse or leave
out is a warning, since whether it does harm depends on the model; checking with a model tells.
"""

from collections import deque
from collections.abc import Iterator

from finetune.data.formats.row import Row
from finetune.types import Turn
from prompts import Role

_INSTRUCTING = ("system", "developer")


class Conversation:
    """Turns with the path of each in the record, in order; `whole` is False if one could not be read.

    `calls` counts the tool calls so far; `open_calls` are those that ShareGPT's answers, which have
    no ids, have not been given to yet.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.paths: list[str] = []
        self.whole = True
        self.calls = 0
        self.open_calls: deque[str] = deque()

    def add(self, turn: Turn, path: str) -> None:
        self.calls += len(turn.tool_calls)
        self.open_calls.extend(call.id for call in turn.tool_calls)
        self.turns.append(turn)
        self.paths.append(path)

    def say(self, role: Role, text: str, path: str) -> None:
        """Add a message that a format gives as a plain text."""
        self.add(Turn(role=role, content=text, trained=role == "assistant"), path)

    def begin(self, system: str, path: str) -> None:
        """Put a system message that a format gives apart in front, unless it is empty."""
        if system.strip():
            self.turns.insert(0, Turn(role="system", content=system))
            self.paths.insert(0, path)

    def extended(self, other: "Conversation") -> "Conversation":
        """Give this conversation gone on with another."""
        both = Conversation()
        both.turns, both.paths = self.turns + other.turns, self.paths + other.paths
        both.whole = self.whole and other.whole
        return both


def check_supervised(row: Row, conversation: Conversation, path: str) -> None:
    """Note what is wrong with a conversation that is to be imitated."""
    turns = conversation.turns
    if not conversation.whole or not turns:
        return
    check_order(row, conversation)
    if turns[-1].role != "assistant":
        row.note("last_not_assistant", conversation.paths[-1], f"the last message has the role {turns[-1].role}")
    answers = [turn for turn in turns if turn.role == "assistant"]
    if not answers:
        row.note("nothing_trained", path, "there is no assistant message")
    elif not any(turn.trained for turn in answers):
        row.note("nothing_trained", path, "the weight of every assistant message is 0")
    _check_answers(row, conversation)


def check_completed(row: Row, prompt: Conversation, completion: Conversation) -> None:
    """Note what is wrong with a prompt and one of its completions; the prompt's own faults are noted apart."""
    if not prompt.whole or not completion.whole or not completion.turns:
        return
    check_order(row, prompt.extended(completion), first=len(prompt.turns))
    if completion.turns[-1].role != "assistant":
        role = completion.turns[-1].role
        row.note("last_not_assistant", completion.paths[-1], f"the last message has the role {role}")
    _check_answers(row, completion)


def check_prompt(row: Row, prompt: Conversation, path: str) -> None:
    """Note what is wrong with a prompt that completions follow."""
    if not prompt.whole:
        return
    check_order(row, prompt)
    if not any(turn.role != "system" and turn.content.strip() for turn in prompt.turns):
        row.note("empty_prompt", path, "there is nothing to answer")
    elif prompt.turns[-1].role == "assistant":
        row.note("prompt_answered", prompt.paths[-1], "the prompt ends with an answer")


def check_order(row: Row, conversation: Conversation, first: int = 0) -> None:
    """Note where roles are out of order, from the turn `first` on."""
    begun = False
    before: Turn | None = None
    calls = _Calls()
    for index, (turn, path) in enumerate(zip(conversation.turns, conversation.paths, strict=True)):
        faults = [*_role_faults(turn, path, before, begun=begun), *calls.pass_turn(turn, path)]
        for code, where, reason in faults if index >= first else ():
            row.note(code, where, reason)
        begun = begun or turn.role not in _INSTRUCTING
        before = turn


def _role_faults(turn: Turn, path: str, before: Turn | None, *, begun: bool) -> Iterator[tuple[str, str, str]]:
    if turn.role in _INSTRUCTING and begun:
        yield "system_late", path, f"a {turn.role} message comes after others"
    if turn.role == "assistant" and not begun:
        yield "assistant_first", path, "an assistant message comes before any user's"
    if before is not None and before.role == turn.role and turn.role in ("user", "assistant"):
        yield "role_repeated", path, f"two {turn.role} messages follow each other"


class _Calls:
    """The tool calls of the last assistant message. They may stay open at the end: then the call is learned."""

    def __init__(self) -> None:
        self._path = ""
        self._asked: set[str] = set()
        self._open: set[str] = set()

    def pass_turn(self, turn: Turn, path: str) -> Iterator[tuple[str, str, str]]:
        if turn.role == "tool":
            if turn.tool_call_id not in self._asked:
                yield "tool_unasked", path, "a tool message answers no call of the assistant message before it"
            self._open -= {turn.tool_call_id or ""}
            return
        if self._open:
            yield "tool_unanswered", self._path, "a tool call gets no answer before the next message"
        self._path = f"{path}.tool_calls"
        self._asked = {call.id for call in turn.tool_calls}
        self._open = set(self._asked)


def _check_answers(row: Row, conversation: Conversation) -> None:
    """An empty answer that is learned teaches silence; one that is only read is odd."""
    for turn, path in zip(conversation.turns, conversation.paths, strict=True):
        if turn.role == "assistant" and not turn.content.strip() and not turn.tool_calls:
            row.note("empty_target" if turn.trained else "empty_content", path, "the assistant's message is empty")
