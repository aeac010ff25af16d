"""What a training says of itself before it begins: what was chosen, in sentences for people."""

from collections.abc import Iterator
from typing import Any

from finetune.events import EventSink, Message
from finetune.job import TuningJob
from finetune.train.lora import ADAPTER
from finetune.train.material import Material
from finetune.train.ranks import processes, shares_out


def tell_material(job: TuningJob, material: Material, sink: EventSink) -> None:
    """Tell what is learned from and in how many steps."""
    for text in (*_data(job, material), _steps(job, material)):
        sink(Message(text=text))


def tell_model(job: TuningJob, material: Material, model: Any, sink: EventSink) -> None:
    """Tell what of the model is trained, and in what numbers."""
    precision = material.precision
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    weights = f"4-bit (NF4) weights computing in {_name(precision.weights)}"
    over = weights if job.settings.quantization == "nf4" else f"{_name(precision.weights)} weights"
    what = f"{_adapter(model)} over {over}" if hasattr(model, "peft_config") else f"All of the model's {over}"
    how = "They are shared out to" if shares_out(job) else "They are on"
    shared = f" {how} {processes()} GPUs, which share each step." if processes() > 1 else ""
    products = ", products in bfloat16" if precision.autocast else ""
    sink(Message(text=f"{what}: {trained:,} weights are trained, in float32{products}.{shared}"))
    if job.plan is not None:
        sink(Message(text=_plan(job)))


def _data(job: TuningJob, material: Material) -> Iterator[str]:
    training, settings = material.training, job.settings
    yield (
        f"{len(training.rows):,} examples of at most {training.longest:,} tokens; "
        f"{training.learned:,} tokens are learned in an epoch."
    )
    if training.cut:
        yield f"{training.cut:,} examples lose their end at {settings.max_length:,} tokens."
    if settings.packing:
        yield f"They are packed into {len(material.rows):,} rows, and a step's examples are rows."


def _steps(job: TuningJob, material: Material) -> str:
    settings, schedule = job.settings, material.schedule
    warmup = f" after {schedule.warmup} steps of warm-up" if schedule.warmup else ""
    return (
        f"{schedule.steps:,} steps of {settings.batch_size} examples over {settings.n_epochs} epochs; "
        f"the learning rate falls from {settings.learning_rate:g} to 0{warmup}; seed {settings.seed}."
    )


def _adapter(model: Any) -> str:
    config = model.peft_config[ADAPTER]
    # PEFT writes out "all-linear" as the path of every layer.
    layers = sorted({path.rpartition(".")[2] for path in config.target_modules})
    return f"LoRA of rank {config.r} and alpha {config.lora_alpha} on {', '.join(layers)}"


def _plan(job: TuningJob) -> str:
    plan = job.plan
    assert plan is not None
    saving = [
        name
        for name, chosen in (
            ("gradient checkpointing", plan.gradient_checkpointing),
            ("activation offloading", plan.activation_offloading),
        )
        if chosen
    ]
    return (
        f"A step is {plan.accumulation} passes of {plan.micro_batch} examples, with {plan.attention} attention, "
        f"{plan.optimizer}, and {' and '.join(saving) or 'nothing saved'} for memory."
    )


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
