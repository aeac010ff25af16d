"""`loam finetune`: training files checked before anything runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.finetune_plan import plan
from services.cli.output import print_json, print_table
from services.cli.session import json_option
from services.cli.tune import resume, run
from services.cli.tuning_jobs import cancel, events, list_, pause

if TYPE_CHECKING:
    from finetune.data.check import Report
    from finetune.data.lengths import Lengths, Meter, Shown

METHODS = ("supervised", "dpo", "reward", "kto", "embedding")
SHOWN_CHARACTERS = 2000
BAR_CHARACTERS = 40
LEARNED = ("⟦", "⟧")


@click.group()
def finetune() -> None:
    """Tune a model on your examples."""


@finetune.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", metavar="MODEL", help="Count tokens and render as this model does: a directory or a hub id.")
@click.option("--method", type=click.Choice(METHODS), help="The training method that the file is for.")
@click.option(
    "--validation",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The validation file, checked too.",
)
@click.option(
    "--max-length", type=click.IntRange(min=1), help="Tokens that a sequence is cut to; else the model's limit."
)
@click.option("--tokens-per-s", type=click.FloatRange(min=0, min_open=True), help="Throughput of an earlier run.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    file: Path,
    model: str | None,
    method: str | None,
    validation: Path | None,
    max_length: int | None,
    tokens_per_s: float | None,
    as_json: bool,
) -> None:
    """Say all that is wrong with a training file, and what it amounts to."""
    from finetune.data.check import check as check_file

    meter, limit = _meter(model, file, method)
    reports = check_file(file, meter=meter, method=method, validation=validation, limit=max_length or limit)
    done = [report for report in reports if report is not None]
    if as_json:
        print_json({"files": [_public(report, tokens_per_s) for report in done], "model": model, "method": method})
    else:
        for report in done:
            _show(report, tokens_per_s)
    ctx.exit(1 if any(report.problems.errors for report in done) else 0)


def _meter(model: str | None, file: Path, method: str | None) -> "tuple[Meter, int | None]":
    """Give what measures examples, and the longest sequence that the model takes."""
    from finetune.data.lengths import Estimate, TemplateMeter, TextMeter

    if model is None:
        return Estimate(), None
    from finetune.data.dataset import format_of
    from finetune.tokenizer import load_tokenizer, longest_input, longest_text
    from finetune.types import Kind

    told = format_of(file)
    if method == "embedding" or (method is None and told is not None and told.kind is Kind.RETRIEVAL):
        folder = _embedder_folder(model)
        tokenizer = load_tokenizer(str(folder))
        return TextMeter(tokenizer), longest_text(folder, tokenizer)
    tokenizer = load_tokenizer(model)
    return TemplateMeter(tokenizer), longest_input(tokenizer)


def _embedder_folder(model: str) -> Path:
    from rag.encoders.embed_source import find_folder

    return find_folder(model, download=False)


def _show(report: "Report", tokens_per_s: float | None) -> None:
    from finetune.data.problems import drawn_together

    format_ = f"{report.format}, {report.kind}" if report.format else "of no known format"
    click.secho(f"{report.path.name}: {format_}", bold=True)
    click.echo(f"{report.records:,} records, {report.examples:,} without errors\n")
    for finding, places in report.problems.groups():
        where = f"{drawn_together(places)}{', ' + finding.field if finding.field else ''}"
        click.secho(finding.severity, fg="red" if finding.severity == "error" else "yellow", nl=False)
        click.echo(f"  {where}: {finding.reason}\n         {finding.remedy}")
    click.echo(f"{report.problems.errors:,} errors, {report.problems.warnings:,} warnings\n")
    if report.lengths.longest:
        _show_lengths(report, tokens_per_s)
    if report.sample:
        click.echo(f"The first example; what is learned stands in {LEARNED[0]}{LEARNED[1]}:")
        for shown in report.sample:
            click.echo(f"{_marked(shown)}\n")


def _show_lengths(report: "Report", tokens_per_s: float | None) -> None:
    lengths = report.lengths
    how = "" if report.exact else " (an estimate from four bytes a token; --model counts them)"
    click.echo(f"Tokens in one epoch: {lengths.tokens:,}, of which {lengths.trained:,} are learned{how}")
    middle, most, top = (lengths.quantile(share) for share in (0.5, 0.95, 1.0))
    click.echo(f"Longest sequence of an example: median {middle:,}, 95th percentile {most:,}, maximum {top:,}")
    if report.limit is not None:
        click.echo(
            f"Over the limit of {report.limit:,}: {report.cut:,} examples, losing {lengths.lost:,} learned tokens"
        )
    seconds = _seconds(lengths, tokens_per_s)
    click.echo(
        f"Time for one epoch: {f'{seconds:,.0f} s' if seconds else 'unknown; --tokens-per-s of a run tells it'}\n"
    )
    histogram = lengths.histogram()
    largest = max(count for _, count in histogram)
    rows = [
        (f"{bound:,}", f"{count:,}", "█" * round(BAR_CHARACTERS * count / largest) or " ") for bound, count in histogram
    ]
    print_table(("TOKENS UP TO", "EXAMPLES", ""), rows)
    click.echo()


def _marked(shown: "Shown") -> str:
    """Give the text with what is learned between marks, cut to a length for the screen."""
    text, end = "", 0
    for start, stop in shown.spans:
        text += shown.text[end:start] + LEARNED[0] + shown.text[start:stop] + LEARNED[1]
        end = stop
    text += shown.text[end:]
    left = len(text) - SHOWN_CHARACTERS
    return text if left <= 0 else f"{text[:SHOWN_CHARACTERS]}… ({left:,} characters more)"


def _seconds(lengths: "Lengths", tokens_per_s: float | None) -> float | None:
    return lengths.tokens / tokens_per_s if tokens_per_s else None


def _public(report: "Report", tokens_per_s: float | None) -> dict[str, Any]:
    lengths = report.lengths
    return {
        "file": report.path.name,
        "format": report.format,
        "kind": report.kind,
        "records": report.records,
        "examples": report.examples,
        "errors": report.problems.errors,
        "warnings": report.problems.warnings,
        "problems": [
            {
                "severity": problem.severity,
                "code": problem.code,
                "line": problem.place.line or None,
                "item": problem.place.item,
                "field": problem.field,
                "reason": problem.reason,
                "remedy": problem.remedy,
            }
            for problem in report.problems
        ],
        "tokens": {
            "estimated": not report.exact,
            "total": lengths.tokens,
            "trained": lengths.trained,
            "median": lengths.quantile(0.5),
            "p95": lengths.quantile(0.95),
            "max": lengths.quantile(1.0),
            "histogram": [{"up_to": bound, "examples": count} for bound, count in lengths.histogram()],
            "limit": report.limit,
            "cut_examples": report.cut,
            "cut_trained": lengths.lost,
        },
        "seconds_per_epoch": _seconds(lengths, tokens_per_s),
        "sample": [{"text": shown.text, "trained": [list(span) for span in shown.spans]} for shown in report.sample],
    }


for verb in (plan, run, list_, events, pause, resume, cancel):
    finetune.add_command(verb)
