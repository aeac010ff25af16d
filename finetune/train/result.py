"""The tuned model's folder: whole with its manifest, or not there."""

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from finetune.adapter import Manifest
from finetune.data.tokens import Tokens
from finetune.job import CHECKPOINTS, MODEL, Outcome, TuningJob
from finetune.model import Base, load_model
from finetune.parity.record import Rows, record
from finetune.parity.trace import TRACES
from finetune.train.assemble import REWARD
from finetune.train.checkpoints import drop_trainer_state, newest, writing
from finetune.train.material import TOKENS, Material
from finetune.train.ranks import rank, shares_out
from finetune.train.session import Session
from finetune.train.shards import follow, led, share_out, whole_weights
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
    shared, recorded = shares_out(job), job.settings.method != REWARD
    if rank() > 0 and not shared:
        return _stepped(session)
    model = _served(job, material, session)
    weights = whole_weights(model) if shared else None
    if rank() > 0:
        if recorded:
            follow(model)
        return _stepped(session)
    if recorded:
        with led(model) if shared else nullcontext():
            _record(job, material, session, model)
    manifest = session.manifest(material.precision.result)
    with writing(job.folder / MODEL) as folder:
        save_weights(model, folder, weights)
        material.tokenizer.save_pretrained(folder)
        manifest.write(folder)
    drop_trainer_state(job.folder / CHECKPOINTS, keep=0)
    shutil.rmtree(job.folder / TOKENS, ignore_errors=True)
    return Outcome(
        step=manifest.steps, trained_tokens=manifest.trained_tokens, folder=job.folder / MODEL, manifest=manifest
    )


def _stepped(session: Session) -> Outcome:
    return Outcome(step=session.step, trained_tokens=session.trainer.learned_tokens)


def _served(job: TuningJob, material: Material, session: Session) -> Any:
    """Give the model as it will be served: one that is tuned as a whole takes the base's 16 bits again."""
    model, dtype = session.model, material.precision.result
    if hasattr(model, "peft_config") or dtype == material.precision.weights:
        return model
    if not shares_out(job):
        # Not `model.to`: it rounds buffers too, such as the frequencies of rotary positions, which serving does not.
        for weights in model.parameters():
            weights.data = weights.data.to(dtype)
        return model
    # FSDP cannot take weights of another dtype, and the last step's are written down.
    last = newest(job.folder / CHECKPOINTS)
    rounded = load_model(
        Base(source=str(last)), quantization="none", device="cpu", dtype=dtype, reward=job.settings.method == REWARD
    )
    share_out(rounded, job.device)
    return rounded


def _record(job: TuningJob, material: Material, session: Session, model: Any) -> None:
    record(
        model,
        material.tokenizer,
        session.trainer.data_collator,
        job.folder / TRACES,
        training=_rows(material.training),
        validation=_rows(material.validation) if material.validation else None,
        max_length=job.settings.max_length,
    )


def _rows(tokens: Tokens) -> Rows:
    return Rows(examples=tokens.file.examples, rows=tokens.rows)
