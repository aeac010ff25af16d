"""The spine of tuning: a training file in, a tuned model with its manifest out."""

from finetune.events import EventSink, ShouldStop
from finetune.job import Outcome, TuningJob

__all__ = ["Outcome", "TuningJob", "tune"]


def tune(job: TuningJob, sink: EventSink, should_stop: ShouldStop) -> Outcome:
    """Train to the end, or until told to stop; run again, it goes on from the newest whole checkpoint.

    Raises TrainingFailed, InvalidDataset, UnreadableFile, ModelUnavailable, ChatFormatError.
    """
    raise NotImplementedError
