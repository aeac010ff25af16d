"""What must be known before a training starts: whether its files are in order, what `auto` comes to, and the plan.

It reads whole files and loads a model's tokenizer, so a server has it done by another process
(`finetune.processes.prepare_process`).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from finetune.config import Settings, Tuning, settle
from finetune.data.check import Report, check
from finetune.data.lengths import Meter, TemplateMeter, TextMeter
from finetune.data.problems import Place, Severity, drawn_together
from finetune.errors import FinetuneError, TrainingFailed
from finetune.memory.planner import plan as plan_training
from finetune.model import Base, best_device
from finetune.plan import Plan
from finetune.source import locate
from finetune.tokenizer import load_tokenizer, longest_input, longest_text

Part: TypeAlias = Literal["training_file", "validation_file"]

log = logging.getLogger(__name__)

MOST_TOLD = 100
MOST_RUNS = 20
MOST_LINES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """A training to prepare. `device` is torch's name of one, None is the best there is."""

    base: Base
    tuning: Tuning
    training_file: Path
    validation_file: Path | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One finding with all its places: `text` is for people, `lines` are the first of `count`."""

    part: Part
    severity: Severity
    code: str
    field: str
    text: str
    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was found. With errors there are neither settings nor a plan; `unplanned` says why else there is none.

    `told` holds the findings, errors first; those beyond MOST_TOLD are only counted, in `untold`. `wrong` is the part
    that has the errors.
    """

    device: str
    settings: Settings | None = None
    plan: Plan | None = None
    unplanned: str | None = None
    examples: int = 0
    tokens: int = 0
    errors: int = 0
    warnings: int = 0
    wrong: Part | None = None
    told: tuple[Told, ...] = ()
    untold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A training as its plan needs to know it."""

    base: Base
    settings: Settings
    device: str


def prepare(preparing: Preparing) -> Prepared:
    """Check the files as the model reads them, settle what was left open, and plan how it fits its device.

    Raises ModelUnavailable, ChatFormatError, UnreadableFile, TrainingFailed, DoesNotFit.
    """
    meter, longest = _meter(preparing)
    limit = _limit(preparing.tuning.max_length, longest)
    training, validation = check(
        preparing.training_file,
        meter=meter,
        method=preparing.tuning.method,
        validation=preparing.validation_file,
        limit=limit,
    )
    reports: list[tuple[Part, Report]] = [("training_file", training)]
    if validation is not None:
        reports.append(("validation_file", validation))
    told = list(_told(reports))
    wrong = next((part for part, report in reports if report.problems.errors), None)
    device = preparing.device or best_device()
    settings, plan, unplanned = None, None, None
    if wrong is None:
        settings = settle(preparing.tuning, examples=training.examples, longest_input=limit)
        draft = _Draft(base=preparing.base, settings=settings, device=device)
        plan, unplanned = _plan(draft, training, validation)
    return Prepared(
        device=device,
        settings=settings,
        plan=plan,
        unplanned=unplanned,
        examples=training.examples,
        tokens=training.lengths.tokens,
        errors=sum(report.problems.errors for _, report in reports),
        warnings=sum(report.problems.warnings for _, report in reports),
        wrong=wrong,
        told=tuple(told[:MOST_TOLD]),
        untold=len(told[MOST_TOLD:]),
    )


def _plan(draft: _Draft, training: Report, validation: Report | None) -> tuple[Plan | None, str | None]:
    """Give the plan, or say why there is none: a model that cannot be simulated may train all the same."""
    if draft.settings.method == "embedding":
        return None, None
    held_out = validation.lengths.longest if validation is not None else ()
    try:
        return plan_training(draft, lengths=training.lengths.longest, validation_lengths=held_out), None
    except FinetuneError:
        raise
    except Exception as exc:
        log.exception("plan_failed")
        return None, f"The memory of the training could not be planned ({type(exc).__name__})."


def _meter(preparing: Preparing) -> tuple[Meter, int | None]:
    """Give what measures examples, and the longest sequence that the model takes."""
    folder = locate(preparing.base).folder
    tokenizer = load_tokenizer(str(folder))
    if preparing.tuning.method == "embedding":
        return TextMeter(tokenizer), longest_text(folder, tokenizer)
    return TemplateMeter(tokenizer), longest_input(tokenizer)


def _limit(asked: int | None, longest: int | None) -> int | None:
    if asked is not None and longest is not None and asked > longest:
        raise TrainingFailed(
            f"The model takes {longest:,} tokens at most, and max_length is {asked:,}.",
            code="invalid_max_length",
            hint="Give a shorter one, or leave it out.",
        )
    return asked or longest


def _told(reports: list[tuple[Part, Report]]) -> Iterator[Told]:
    for severity in ("error", "warning"):
        for part, report in reports:
            for finding, places in report.problems.groups():
                if finding.severity == severity:
                    field = f", {finding.field}" if finding.field else ""
                    where = drawn_together(places, most=MOST_RUNS)
                    yield Told(
                        part=part,
                        severity=finding.severity,
                        code=finding.code,
                        field=finding.field,
                        text=f"{where.capitalize()}{field}: {finding.reason}. {finding.remedy}",
                        count=len(places),
                        lines=tuple(_lines(places)),
                    )


def _lines(places: list[Place]) -> Iterator[int]:
    return islice((place.line for place in places if place.line), MOST_LINES)
