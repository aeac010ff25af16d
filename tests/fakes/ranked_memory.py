"""Trains in one of several processes; each prints what memory it took at most, a line for each job.

torchrun --nproc-per-node 2 -m tests.fakes.ranked_memory JOB...
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from finetune.job import TuningJob
from finetune.processes.wire import JOB
from finetune.train.material import gather
from finetune.train.session import Session
from tests.fakes.allocations import Allocations, peak_of
from tests.fakes.in_place import collect_in_place


class Begun(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Watches a training from where its plan does to the end of its first step.

    Before, accelerate copies all weights to where they are, for among several processes it calls that cpu:0.
    """

    _allocations: Allocations
    peak = 0

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        # Before the others, of which one rehearses the worst step.
        trainer.callback_handler.callbacks.insert(0, self)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._allocations = Allocations(self._trainer)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.peak = self.peak or self._allocations.peak()


def main() -> None:
    torch.set_num_threads(1)
    for described in sys.argv[1:]:
        print(json.dumps(peaks_of(JOB.validate_json(Path(described).read_bytes()))))


def peaks_of(job: TuningJob) -> dict[str, int]:
    session = Session(job, gather(job), lambda event: None, lambda: None)
    trainer = session.trainer
    collect_in_place(trainer.model)
    begun = Begun(trainer)
    session.train()
    step, evaluation = begun.peak, peak_of(trainer, trainer.evaluate)
    # What was saved once is not saved again in the same folder.
    trainer.checkpoints = job.folder / "again"
    saving = peak_of(trainer, lambda: trainer._save_checkpoint(trainer.model, None))
    return {"step": step, "evaluation": evaluation, "saving": saving}


if __name__ == "__main__":
    main()
