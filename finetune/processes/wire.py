"""How a trainer's job, events and end pass between processes: one JSON object a line."""

import json
from typing import Any

from pydantic import TypeAdapter

from finetune.errors import TrainingFailed
from finetune.events import Checkpoint, Event, Message, Metrics
from finetune.job import Outcome, TuningJob

JOB = TypeAdapter(TuningJob)

_EVENTS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in (Message, Metrics, Checkpoint)}
_OUTCOME = TypeAdapter(Outcome)


def line_of(told: Event | Outcome | TrainingFailed) -> str:
    """Write what a trainer tells as a line."""
    fields: Any
    match told:
        case TrainingFailed():
            fields = {"text": told.text, "code": told.code, "hint": told.hint}
        case Outcome():
            fields = _OUTCOME.dump_python(told, mode="json")
        case _:
            fields = _EVENTS[type(told).__name__].dump_python(told, mode="json")
    return json.dumps({type(told).__name__: fields}) + "\n"


def told_by(line: str) -> Event | Outcome | TrainingFailed:
    """Read a line back."""
    [(kind, fields)] = json.loads(line).items()
    if kind == TrainingFailed.__name__:
        return TrainingFailed(fields["text"], code=fields["code"], hint=fields["hint"])
    if kind == Outcome.__name__:
        return _OUTCOME.validate_python(fields)
    event: Event = _EVENTS[kind].validate_python(fields)
    return event
