"""The other end of `finetune.processes.process`: `python -m finetune.processes.trainer_process FOLDER DESCRIPTOR`."""

import logging
import os
import sys
import threading
from pathlib import Path

from finetune.errors import TrainingFailed
from finetune.events import Event, Stop
from finetune.job import ALL_GPUS, JOB_FILE, Outcome
from finetune.processes.siblings import start_siblings
from finetune.processes.wire import JOB, line_of
from finetune.train.ranks import processes, rank

ORPHANED = 3
FAILED = 1


class _Wishes(threading.Thread):
    """Hears what the parent wants. Once there is no parent, the process ends at once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stop: Stop | None = None

    def run(self) -> None:
        for line in sys.stdin:
            wanted = Stop(line.strip())
            if self.stop is not Stop.CANCEL:
                self.stop = wanted
        os._exit(ORPHANED)


def main(folder: Path, descriptor: int) -> None:
    wishes = _Wishes()
    wishes.start()
    job = JOB.validate_json((folder / JOB_FILE).read_bytes())
    if job.device == ALL_GPUS and processes() == 1:
        import torch

        if (count := torch.cuda.device_count()) > 1:
            start_siblings(folder, descriptor, count)
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:

        def tell(told: Event | Outcome | TrainingFailed) -> None:
            if rank() == 0 or isinstance(told, TrainingFailed):
                pipe.write(line_of(told))
                pipe.flush()

        # Imported only now, for it takes seconds, in which a parent may die.
        from finetune.run import tune

        try:
            tell(tune(job, tell, lambda: wishes.stop))
        except TrainingFailed as exc:
            logging.getLogger(__name__).exception("training_failed code=%s", exc.code)
            tell(exc)
            sys.exit(FAILED)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
