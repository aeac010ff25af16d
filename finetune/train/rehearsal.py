"""The worst step, run once before the first: what does not fit fails now and not at night."""

from time import perf_counter
from typing import Any

import torch
from transformers import TrainerCallback

from finetune.data.tokens import Row, length_of
from finetune.events import EventSink, Message
from finetune.train.material import Material
from finetune.train.trainer import JobTrainer


class Rehearsal(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Runs one whole step of the longest rows, and an evaluation of the longest, once all is in place."""

    def __init__(self, trainer: JobTrainer, material: Material, sink: EventSink) -> None:
        self._trainer, self._material, self._sink = trainer, material, sink

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= self._material.schedule.steps:
            return
        count = args.per_device_train_batch_size
        rows = _longest(self._material.rows, count)
        validation = self._material.validation
        began = perf_counter()
        self._trainer.rehearse(rows, _longest(validation.rows, count) if validation else [])
        took = perf_counter() - began
        size = f"{len(rows)} x {max(map(length_of, rows)):,} tokens"
        self._sink(Message(text=f"The longest batch ({size}) fits: a step of it took {took:.1f} s{_peak()}."))


def _longest(rows: Any, count: int) -> list[Row]:
    """Give the rows that take the most memory together."""
    lengths = [length_of(row) for row in rows]
    ranked = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    return [rows[index] for index in ranked[:count]]


def _peak() -> str:
    if not torch.cuda.is_available():
        return ""
    return f" and {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at its peak"
