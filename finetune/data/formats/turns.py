"""Messages of a training file as turns, whichever form they have."""

from finetune.data.formats.chat import chat_turn
from finetune.data.formats.conversation import Conversation
from finetune.data.formats.row import Row
from finetune.data.formats.sharegpt import sharegpt_turn


def read_turns(row: Row, key: str) -> Conversation:
    """Read the list of messages under a key, noting every problem in the row."""
    conversation = Conversation()
    for message in row.objects(key):
        read_turn(message, conversation)
    listed = row.value.get(key)
    conversation.whole &= isinstance(listed, list) and 0 < len(conversation.turns) == len(listed)
    return conversation


def read_turn(message: Row, conversation: Conversation) -> None:
    """Add one message to a conversation."""
    turn = sharegpt_turn(message, conversation) if "from" in message.value else chat_turn(message)
    if turn is None:
        conversation.whole = False
    else:
        conversation.add(turn, message.path)
