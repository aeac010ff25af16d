"""Trains in one of several processes that torchrun has started; the first prints each curve.

torchrun --nproc-per-node 2 -m tests.fakes.ranked_training JOB...
"""

import json
import sys
from pathlib import Path

import torch

from finetune.processes.wire import JOB
from finetune.run import tune
from finetune.train import result
from finetune.train.ranks import rank
from tests.fakes.tuning_jobs import Told


def main() -> None:
    torch.set_num_threads(1)
    result.record = lambda *_, **__: 0
    for described in sys.argv[1:]:
        told = Told()
        outcome = tune(JOB.validate_json(Path(described).read_bytes()), told, lambda: None)
        if rank() == 0:
            print(json.dumps({"curve": told.curve, "tokens": outcome.trained_tokens, "folder": str(outcome.folder)}))


if __name__ == "__main__":
    main()
