"""Fields that messages of every form have: their weight and their text."""

from typing import Any

from finetune.data.decode import described
from finetune.data.formats.row import Row

_WEIGHTS: dict[float, bool] = {0: False, 1: True}


def read_weight(message: Row, role: str) -> bool:
    """Say whether a message is trained: an assistant's, unless its weight is 0."""
    key = next((key for key in ("weight", "loss_weight") if message.has(key)), None)
    if key is None:
        return role == "assistant"
    value: Any = message.value[key]
    trained = _WEIGHTS.get(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if trained is None:
        message.note("weight", message.at(key), f"is {value if isinstance(value, int | float) else described(value)}")
        return role == "assistant"
    if role != "assistant":
        if trained:
            message.note("weight", message.at(key), f"is {value} for a message of role {role}, which is never learned")
        elif key == "weight":
            message.note("ignored_weight", message.at(key), f"is given for a message of role {role}")
    return trained and role == "assistant"


def check_text(message: Row, key: str, text: str, role: str) -> None:
    """An assistant's empty turn is judged with its conversation, where it is known whether it is a target."""
    if "\0" in text:
        message.note("nul", message.at(key), "holds NUL characters")
    if not text.strip() and role != "assistant":
        message.note("empty_content", message.at(key), "is empty")
