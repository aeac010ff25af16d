"""The trainer as a process of its own, so that nothing it does can take its parent down.

trainer = start(job)
for event in trainer.events():       # until the training ends, however it ends
    ...                              # trainer.stop(Stop.PAUSE) from any thread
outcome = trainer.outcome()          # raises TrainingFailed
"""

from collections.abc import Iterator

from finetune.events import Event, Stop
from finetune.job import Outcome, TuningJob


class TrainerProcess:
    """A training that runs. It ends at once when its parent does."""

    @property
    def pid(self) -> int:
        raise NotImplementedError

    def events(self) -> Iterator[Event]:
        """Give the events as they come, until the trainer has ended."""
        raise NotImplementedError

    def stop(self, why: Stop) -> None:
        """Ask it to stop; a pause keeps a checkpoint of the step it is at. Does nothing once it has ended."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once; the last checkpoint stays. Does nothing once it has ended."""
        raise NotImplementedError

    def outcome(self) -> Outcome:
        """Wait for its end and give it. Raises TrainingFailed, and TrainerKilled if a signal ended it."""
        raise NotImplementedError


def start(job: TuningJob) -> TrainerProcess:
    """Start to train, or to go on from where the job's folder is."""
    raise NotImplementedError
