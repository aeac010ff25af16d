"""The spine of tuning: a training file in, a tuned model with its manifest out."""

from finetune.events import EventSink, ShouldStop
from finetune.job import Outcome, TuningJob
from finetune.train.alone import alone
from finetune.train.failures import explained
from finetune.train.material import gather
from finetune.train.result import found, keep
from finetune.train.session import Session
from finetune.train.telling import tell_material, tell_model

__all__ = ["Outcome", "TuningJob", "tune"]


def tune(job: TuningJob, sink: EventSink, should_stop: ShouldStop) -> Outcome:
    """Train to the end, or until told to stop; run again, go on from the newest checkpoint. Raises TrainingFailed."""
    with alone(job.folder), explained(job.folder):
        if (outcome := found(job.folder)) is not None:
            return outcome
        if job.settings.method == "embedding":
            from finetune.encoder.embedding import tune_embedder

            return tune_embedder(job, sink, should_stop)
        material = gather(job)
        tell_material(job, material, sink)
        if stop := should_stop():
            return Outcome(step=0, stopped=stop)
        session = Session(job, material, sink, should_stop)
        tell_model(job, material, session.model, sink)
        if stop := session.train():
            return Outcome(step=session.step, trained_tokens=session.trainer.learned_tokens, stopped=stop)
        return keep(job, material, session)
