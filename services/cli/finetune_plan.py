"""`loam finetune plan`: what a training will take, before it starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import print_json, print_table
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from finetune.config import Recipe, Settings, Tuning
    from finetune.data.check import Report
    from finetune.data.lengths import Meter
    from finetune.model import Base
    from finetune.plan import Plan

MIB, GIB = 1 << 20, 1 << 30
GPU = "cuda:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A training on a device, with all that was left open decided. `exact` says whether its tokens were counted."""

    base: "Base"
    settings: "Settings"
    device: str
    lengths: Sequence[int]
    validation_lengths: Sequence[int]
    exact: bool


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--device-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="Plan for a GPU that has so much memory free, whether or not it is here.",
)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plan for so many GPUs of that memory, which share each step.",
)
@json_option
@pass_session
@click.pass_context
def plan(
    ctx: click.Context, session: Session, recipe: Path, device_memory: float | None, devices: int | None, as_json: bool
) -> None:
    """Say how a training will fit its device, and the memory that its worst step will take.

    A step of the very model is simulated without its weights; no GPU is needed.
    """
    from rich.console import Console

    from finetune.errors import DoesNotFit
    from finetune.job import ALL_GPUS
    from finetune.memory.planner import plan as plan_training

    if devices is not None and device_memory is None:
        raise click.UsageError("--devices says how many GPUs there are of --device-memory, which is missing.")
    wanted = read_recipe(recipe)
    with Console(stderr=True).status("Simulating the worst step …"):
        gpu = ALL_GPUS if devices and devices > 1 else GPU
        planned = _planned(session, wanted, gpu if device_memory else None)
        try:
            found = plan_training(
                planned,
                lengths=planned.lengths,
                validation_lengths=planned.validation_lengths,
                device_bytes=int(device_memory * GIB) if device_memory else None,
                processes=devices,
            )
        except DoesNotFit as exc:
            if not as_json:
                raise
            remedies = [{"change": change, "needed_bytes": size} for change, size in exc.remedies]
            print_json({"fits": False, "message": str(exc), "needed_bytes": exc.needed_bytes, "remedies": remedies})
            ctx.exit(1)
    if as_json:
        print_json({"fits": True, "exact": planned.exact, "plan": asdict(found), "settings": _public(planned.settings)})
    else:
        _show(found, planned, wanted.model)


def read_recipe(path: Path) -> "Recipe":
    """Read a recipe that a user has named. Raises UsageError."""
    from finetune.errors import InvalidRecipe
    from finetune.recipe import load_recipe

    try:
        return load_recipe(path)
    except InvalidRecipe as exc:
        raise click.UsageError(str(exc)) from exc


def _planned(session: Session, recipe: "Recipe", device: str | None) -> Planned:
    """Find the model and measure the files. Raises InvalidDataset, ChatFormatError, ModelUnavailable, BadRequest."""
    from finetune.config import settle
    from finetune.data.check import check
    from finetune.model import best_device
    from services.models import resolve_base
    from services.storage.tables import DEFAULT_PROJECT
    from services.tuning_requests import inherited

    with session.services() as services:
        tuning_device = services.settings.tuning_device
        found = resolve_base(services.settings, services.database, DEFAULT_PROJECT, recipe.model, over_http=False)
    tuning: Tuning = inherited(recipe, found)
    if tuning.method == "embedding":
        raise click.UsageError("An embedder is small and is tuned without a plan.")
    meter, longest = _meter(found.base)
    if tuning.max_length is not None and longest is not None and tuning.max_length > longest:
        raise click.UsageError(f"The model takes {longest:,} tokens at most, and max_length is {tuning.max_length:,}.")
    limit = tuning.max_length or longest
    training, validation = check(
        recipe.training_file, meter=meter, method=tuning.method, validation=recipe.validation_file, limit=limit
    )
    return Planned(
        base=found.base,
        settings=settle(tuning, examples=training.examples, longest_input=longest),
        device=device or tuning_device or best_device(),
        lengths=_lengths(training),
        validation_lengths=_lengths(validation) if validation is not None else (),
        exact=meter.exact,
    )


def _meter(base: "Base") -> "tuple[Meter, int | None]":
    """Give what measures examples, and the longest sequence that the model takes.

    Where the hub's cache holds no more of a model than its configuration, tokens are estimated.
    """
    from finetune.data.lengths import Estimate, TemplateMeter
    from finetune.errors import ModelUnavailable
    from finetune.memory.planner import config_of
    from finetune.tokenizer import load_tokenizer, longest_input

    try:
        tokenizer = load_tokenizer(str(base.adapter or base.source))
    except ModelUnavailable:
        return Estimate(), getattr(config_of(base).get_text_config(), "max_position_embeddings", None)
    return TemplateMeter(tokenizer), longest_input(tokenizer)


def _lengths(report: "Report") -> Sequence[int]:
    """Give the tokens of each example. Raises InvalidDataset."""
    from finetune.errors import InvalidDataset

    if report.problems.errors:
        raise InvalidDataset(report.path.name, report.problems)
    return report.lengths.longest


def _show(plan: "Plan", planned: Planned, model: str) -> None:
    settings = planned.settings
    free = f"{_binary(plan.device_bytes)} free"
    where = f"{plan.device}, {free}" if plan.processes == 1 else f"{plan.processes} GPUs, {free} on each"
    click.secho(f"{model} on {where}: it fits.\n", bold=True)
    each = f" on each of {plan.processes} GPUs" if plan.processes > 1 else ""
    about = "" if planned.exact else " (an estimate: the model's tokenizer is not here)"
    click.echo(
        f"A step learns from {settings.batch_size} examples: {plan.accumulation} x {plan.micro_batch}{each}, "
        f"of at most {plan.longest:,} tokens{about}; {plan.steps:,} steps."
    )
    click.echo(
        f"Gradient checkpointing {_switch(plan.gradient_checkpointing)}, "
        f"activation offloading {_switch(plan.activation_offloading)}, "
        f"optimizer {plan.optimizer}, attention {plan.attention}."
    )
    for reason in plan.reasons:
        click.echo(reason)
    click.echo()
    parts = sorted(plan.parts.items(), key=lambda part: part[1], reverse=True)
    rows = [
        ("a step", plan.peaks.step),
        *((f"  {name}", size) for name, size in parts),
        ("an evaluation", plan.peaks.evaluation),
        ("saving", plan.peaks.saving),
        ("to be free, with room to spare", plan.needed_bytes),
    ]
    print_table(
        ("MEMORY AT MOST" if plan.processes == 1 else "MEMORY OF EACH AT MOST", ""),
        [(name, _binary(size)) for name, size in rows],
    )


def _binary(size_bytes: int) -> str:
    return f"{size_bytes / GIB:,.2f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:,.1f} MiB"


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _public(settings: "Settings") -> dict[str, Any]:
    lora = settings.lora
    return asdict(replace(settings, lora=None)) | {"lora": lora.model_dump() if lora else None}
