"""The parts of a trainer, put together: the model with its adapter, the tokenizer that pads, the arguments."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.adapter import MANIFEST, Manifest
from finetune.errors import TrainingFailed
from finetune.job import ALL_GPUS, CHECKPOINTS, TuningJob
from finetune.model import Base, load_model
from finetune.train.checkpoints import check_space
from finetune.train.lora import ADAPTER, attach
from finetune.train.material import Material
from finetune.train.parts import Parts, training_arguments
from finetune.train.ranks import rank, shares_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WEIGHT_BYTES = 4
"""What is trained is float32."""

REWARD = "reward"

MOMENTS_BYTES = 8
"""What AdamW keeps of a weight; those of 8 bits keep less."""


def assemble(job: TuningJob, material: Material) -> Parts:
    """Load the model and make it ready to be trained. Raises ModelUnavailable, TrainingFailed."""
    from transformers import set_seed

    settings = job.settings
    reward = settings.method == REWARD
    _check_kind(job.base, reward=reward)
    set_seed(settings.seed)
    model = _model(job, material)
    adapter = job.base.adapter
    if adapter is not None or settings.lora is not None:
        model = attach(model, settings.lora, adapter=adapter, seed=settings.seed, reward=reward)
        model.peft_config[ADAPTER].base_model_name_or_path = job.base.source
    _check_space(job, material, model)
    return Parts(
        settings=settings,
        model=model,
        new_adapter=adapter is None,
        reference=_reference(job, material),
        tokenizer=_padding(material.tokenizer),
        training=material.rows,
        validation=material.validation.rows if material.validation else None,
        arguments=training_arguments(
            settings,
            plan=job.plan,
            precision=material.precision,
            schedule=material.schedule,
            folder=job.folder / CHECKPOINTS,
            device=job.device,
            name=job.run_name or job.name,
            report_to=job.report_to,
        ),
    )


def _model(job: TuningJob, material: Material) -> Any:
    model = load_model(
        Base(source=str(material.source.folder)),
        quantization=job.settings.quantization,
        device=_device(job),
        dtype=material.precision.weights,
        reward=job.settings.method == REWARD,
    )
    if job.plan is not None:
        model.set_attn_implementation(job.plan.attention)
    # transformers' name for a model that is neither moved nor wrapped for several processes: it cares for itself.
    model._is_distributed_loading_by_transformers = shares_out(job)
    return model


def _device(job: TuningJob) -> str:
    """Say where weights are loaded: what is shared out goes from the CPU to its devices, a layer at a time."""
    if shares_out(job):
        return "cpu"
    return f"{job.device}:{rank()}" if job.device == ALL_GPUS else job.device


def _reference(job: TuningJob, material: Material) -> Any:
    """Give the model as it was, if the method needs it beside the one that is trained."""
    if job.base.adapter is not None or job.settings.lora is not None or job.settings.method not in ("dpo", "kto"):
        return None
    model = _model(job, material).requires_grad_(False)
    if shares_out(job):
        from finetune.train.shards import share_out

        share_out(model, job.device)
    return model


def _check_kind(base: Base, *, reward: bool) -> None:
    """A reward model goes on as one, and no adapter becomes one: their heads differ."""
    tuned = base.adapter or Path(base.source)
    if not (tuned / MANIFEST).exists():
        return
    kind = Manifest.read(tuned).kind
    fits = kind == REWARD or base.adapter is None if reward else kind != REWARD
    if not fits:
        raise TrainingFailed(
            f"A model of kind {kind} cannot be gone on from {'as a reward model' if reward else 'by this method'}.",
            code="incompatible_model",
            hint="Tune its base, or choose the method that it was tuned by.",
        )


def _check_space(job: TuningJob, material: Material, model: Any) -> None:
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    vocabulary = material.source.folder / "tokenizer.json"
    check_space(
        job.folder,
        checkpoints=material.schedule.checkpoints,
        weights=trained * WEIGHT_BYTES + (vocabulary.stat().st_size if vocabulary.exists() else 0),
        state=trained * MOMENTS_BYTES,
    )


def _padding(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
    """Give a tokenizer that can pad. Its own is left as it is, for that is the one that is saved."""
    mine = copy.deepcopy(tokenizer)
    if mine.pad_token is None:
        mine.pad_token = mine.eos_token or mine.unk_token
    if mine.pad_token is None:
        raise TrainingFailed(
            "The model's tokenizer has no token to pad with.", hint="Give it a pad_token in tokenizer_config.json."
        )
    return mine
