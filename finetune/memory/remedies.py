"""What to change of a training that does not fit: each change is simulated too, and named with what it then takes."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from finetune.config import Lora
from finetune.errors import DoesNotFit
from finetune.memory.measure import Training, count_parameters, in_gib, measured
from finetune.plan import ACTIVATIONS, Plan

Remedy: TypeAlias = tuple[str, int]
"""What to change, and the bytes that the training then needs."""

PARTED_OPTIMIZER = "adamw_torch_fused"
"""What trains weights that are shared out."""

SMALL_RANK = 8
LENGTH_STEP = 64
"""A shorter limit is a multiple of this many tokens."""

SHRINKINGS = 3
SHRINKING = 0.75
"""How often a model that is still too large is tried smaller, and by how much."""


def refusal(training: Training, least: Plan) -> DoesNotFit:
    """Give the error that says what a training takes at least, and which changes would make it fit."""
    remedies: list[Remedy] = []
    for find in (_shared_out, _more_devices, _shorter, _smaller_rank, _lighter_weights, _smaller_model):
        remedies += find(training, least)
    told = ", ".join(f"{change} ({in_gib(size)})" for change, size in remedies)
    where, device = "", repr(least.device)
    if least.processes > 1:
        held = "which share the weights out" if least.sharded else "which all hold the whole model"
        where, device = f" on each of {least.processes} devices, {held}", "the fullest"
    return DoesNotFit(
        f"This training needs at least {in_gib(least.needed_bytes)} of memory{where}, and {device} has "
        f"{in_gib(least.device_bytes)} free.",
        needed_bytes=least.needed_bytes,
        remedies=tuple(remedies),
        hint=f"What would fit: {told}." if told else "No smaller training of this model would fit.",
    )


def _shared_out(training: Training, least: Plan) -> Iterator[Remedy]:
    if least.processes == 1 or least.sharded:
        return
    plan = measured(training, replace(least, sharded=True, optimizer=PARTED_OPTIMIZER, activation_offloading=False))
    if plan.fits:
        yield "sharding full", plan.needed_bytes


def _more_devices(training: Training, least: Plan) -> Iterator[Remedy]:
    """Twice as many, where a step has examples for all of them."""
    more = 2 * least.processes
    if not least.sharded or training.settings.batch_size % (more * least.micro_batch):
        return
    plan = measured(training, replace(least, processes=more))
    if plan.fits:
        yield f"{more} such devices", plan.needed_bytes


def _shorter(training: Training, least: Plan) -> Iterator[Remedy]:
    activations = least.parts[ACTIVATIONS]
    room = least.device_bytes - least.needed_bytes + activations
    length = min(least.longest - 1, least.longest * room // activations) // LENGTH_STEP * LENGTH_STEP
    while length >= LENGTH_STEP:
        plan = measured(replace(training, evaluated=length), replace(least, longest=length))
        if plan.fits:
            yield f"max_length {length:,}", plan.needed_bytes
            return
        length = length // 2 // LENGTH_STEP * LENGTH_STEP


def _smaller_rank(training: Training, least: Plan) -> Iterator[Remedy]:
    settings = training.settings
    if settings.lora is None or settings.lora.r <= SMALL_RANK:
        return
    smaller = settings.lora.model_copy(update={"r": SMALL_RANK})
    plan = measured(replace(training, settings=replace(settings, lora=smaller)), least)
    if plan.fits:
        yield f"lora.r {SMALL_RANK}", plan.needed_bytes


def _lighter_weights(training: Training, least: Plan) -> Iterator[Remedy]:
    """LoRA for a full tuning, and NF4 for weights as they are."""
    settings, lighter = training.settings, []
    if settings.lora is None:
        lighter.append(("lora", replace(settings, lora=Lora())))
    if settings.quantization == "none":
        change = "quantization nf4" if settings.lora else "quantization nf4 with lora"
        lighter.append((change, replace(settings, lora=settings.lora or Lora(), quantization="nf4")))
    for change, lightened in lighter:
        plan = measured(replace(training, settings=lightened), least)
        if plan.fits:
            yield change, plan.needed_bytes


def _smaller_model(training: Training, least: Plan) -> Iterator[Remedy]:
    layers = training.config.get_text_config().num_hidden_layers
    share = least.device_bytes / least.needed_bytes
    for _ in range(SHRINKINGS):
        smaller = with_layers(training.config, max(1, int(layers * share)))
        plan = measured(replace(training, config=smaller), least)
        if plan.fits:
            size = count_parameters(smaller) / 1e9
            yield f"a model of this shape with {size:,.1f} billion parameters", plan.needed_bytes
            return
        share *= SHRINKING


def with_layers(config: Any, layers: int) -> Any:
    """Give a configuration of a model like this one with fewer layers."""
    smaller = copy.deepcopy(config)
    text = smaller.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return smaller
