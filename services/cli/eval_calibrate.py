"""`loam eval calibrate` and `calibrations`: when a model's answers count, fitted on a run and kept in the home."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.cli.eval_reports import give, out_option, own_folder, read_run, run_argument
from services.cli.output import print_json
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from rag.evaluate.calibrate import Fitted
    from rag.evaluate.report import Report
    from services.calibrations import Calibrations, ModelCalibration

CALIBRATION = "calibration"
FEATURES_BY = "features by"
SOURCE = "source"
"""What the setup of a run says for a calibration: whether one had a part in it, the embedder, what the model is."""


@click.command()
@run_argument("run")
@click.option(
    "--answer-share",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.9,
    show_default=True,
    help="Of the right answers so many are to count.",
)
@out_option
@json_option
@pass_session
def calibrate(session: Session, run: Path, answer_share: float, out: Path | None, as_json: bool) -> None:
    """Fit when the answers of a model count, on half of the questions of a RUN of 'loam eval answers'.

    The other half shows what it brings. From then on the model's answers carry their confidence, and what is below
    the threshold is refused; 'loam eval calibrations --remove MODEL' ends it.
    """
    from rag.evaluate.calibrate import calibrate as fit_to
    from rag.evaluate.calibrated_report import markdown, public
    from services.cli.eval_figures import draw_calibration

    report = read_run(run)
    _check(report)
    fitted = fit_to(report, answer_share=answer_share)
    path = _calibrations(session).save(_kept(fitted, report))
    give(
        public(fitted, report),
        markdown(fitted, report),
        lambda path: draw_calibration(fitted, report, path),
        name="calibration",
        folder=out or own_folder(session.settings.home, "calibration", Path(report.collection)),
        as_json=as_json,
    )
    click.echo(f"In effect for {report.setup['model']}: {path}", err=True)


@click.command()
@click.option("--remove", metavar="MODEL", help="Take this model's answers at their word again.")
@json_option
@pass_session
def calibrations(session: Session, remove: str | None, as_json: bool) -> None:
    """List the models whose answers count by a calibration, or remove one's."""
    from services.errors import NotFound

    kept = _calibrations(session)
    if remove is not None and not kept.remove(remove):
        raise NotFound(f"The model {remove!r} has no calibration: 'loam eval calibrations' shows those there are.")
    found = kept.every()
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo("No model is calibrated.")


def _check(report: "Report") -> None:
    from services.errors import BadRequest
    from services.model_table import EXTRACTIVE

    if report.kind != "answers":
        raise BadRequest(f"The run is of {report.kind}: a calibration is fitted on one of 'loam eval answers'.")
    if report.setup.get("engine") == EXTRACTIVE:
        raise BadRequest("The extractive engine has a calibration of its own (rag/README.md, Abstention).")
    if CALIBRATION in report.setup:
        raise BadRequest("The run was made with a calibration: ask again with 'loam eval answers … --uncalibrated'.")
    if FEATURES_BY not in report.setup:
        raise BadRequest("The run was made by an earlier version: ask its questions again with 'loam eval answers'.")


def _kept(fitted: "Fitted", report: "Report") -> "ModelCalibration":
    from services.calibrations import ModelCalibration

    setup, calibration = report.setup, fitted.calibration
    return ModelCalibration(
        model=str(setup["model"]),
        engine=str(setup["engine"]),
        source=str(setup[SOURCE]) if SOURCE in setup else None,
        embedder=str(setup[FEATURES_BY]),
        made_at=int(time.time()),
        collection=report.collection,
        questions=fitted.fitted_on,
        answer_share=fitted.answer_share,
        threshold=calibration.threshold,
        intercept=calibration.intercept,
        weights=dict(calibration.weights),
        balanced_accuracy=fitted.after.at_threshold.balanced_accuracy,
    )


def _calibrations(session: Session) -> "Calibrations":
    from services.calibrations import Calibrations

    return Calibrations(session.settings.calibrations_dir)


def _line(one: "ModelCalibration") -> str:
    made = time.strftime("%Y-%m-%d", time.localtime(one.made_at))
    return f"{one.model}: from {one.threshold:.3f} on, with {one.embedder}, fitted on {one.collection} on {made}"
