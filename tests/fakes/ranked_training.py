"""Trains in one of several processes that torchrun has started; the first prints each curve.

torchrun --nproc-per-node 2 -m tests.fakes.ranked_training JOB...

At the step of JOB@STEP each kills itself, without warning.
"""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from finetune.events import Event, Metrics
from finetune.job import TuningJob
from finetune.parity import record
from finetune.processes.wire import JOB
from finetune.run import tune
from finetune.train import result
from finetune.train.ranks import rank, shares_out
from tests.fakes.tuning_jobs import Told

RECORD = partial(record.record, count=1)


class Mortal(Told):
    def __init__(self, step: int | None) -> None:
        super().__init__()
        self._last = step

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, Metrics) and event.step == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    for described in sys.argv[1:]:
        path, _, step = described.partition("@")
        told = Mortal(int(step) if step else None)
        job = JOB.validate_json(Path(path).read_bytes())
        vars(result)["record"] = recorder(job)
        outcome = tune(job, told, lambda: None)
        if rank() == 0:
            found = {"curve": told.curve, "tokens": outcome.trained_tokens, "folder": str(outcome.folder)}
            print(json.dumps(found), flush=True)


def recorder(job: TuningJob) -> Any:
    """Parity is recorded by the first process alone, as of a training by one, but where weights are shared out."""
    return RECORD if shares_out(job) else lambda *_, **__: 0


if __name__ == "__main__":
    main()
