"""The tuned model's folder: whole with its manifest, or not there."""

import shutil
from pathlib import Path

from finetune.adapter import Manifest
from finetune.data.tokens import Tokens
from finetune.job import CHECKPOINTS, MODEL, Outcome, TuningJob
from finetune.parity.record import Rows, record
from finetune.parity.trace import TRACES
from finetune.train.checkpoints import drop_trainer_state, writing
from finetune.train.material import TOKENS, Material
from finetune.train.ranks import rank
from finetune.train.session import Session
from finetune.train.weights import save_weights


def found(folder: Path) -> Outcome | None:
    """Give the outcome of a job that has ended before."""
    model = folder / MODEL
    if not model.exists():
        return None
    manifest = Manifest.read(model)
    return Outcome(step=manifest.steps, trained_tokens=manifest.trained_tokens, folder=model, manifest=manifest)


def keep(job: TuningJob, material: Material, session: Session) -> Outcome:
    """Write down what the model makes of some examples, for parity, then the model, and drop what is of no more use."""
    session.trainer.accelerator.wait_for_everyone()
    if rank() > 0:
        return Outcome(step=session.step, trained_tokens=session.trainer.learned_tokens)
    precision, model = material.precision, session.model
    if not hasattr(model, "peft_config"):
        # Not `model.to`: it rounds buffers too, such as the frequencies of rotary positions, which serving does not.
        for weights in model.parameters():
            weights.data = weights.data.to(precision.result)
    if job.settings.method != "reward":
        _record(job, material, session)
    manifest = session.manifest(precision.result)
    with writing(job.folder / MODEL) as folder:
        save_weights(model, folder)
        material.tokenizer.save_pretrained(folder)
        manifest.write(folder)
    drop_trainer_state(job.folder / CHECKPOINTS, keep=0)
    shutil.rmtree(job.folder / TOKENS, ignore_errors=True)
    return Outcome(
        step=manifest.steps, trained_tokens=manifest.trained_tokens, folder=job.folder / MODEL, manifest=manifest
    )


def _record(job: TuningJob, material: Material, session: Session) -> None:
    record(
        session.model,
        material.tokenizer,
        session.trainer.data_collator,
        job.folder / TRACES,
        training=_rows(material.training),
        validation=_rows(material.validation) if material.validation else None,
        max_length=job.settings.max_length,
    )


def _rows(tokens: Tokens) -> Rows:
    return Rows(examples=tokens.file.examples, rows=tokens.rows)
