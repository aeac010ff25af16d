"""`loam finetune run` and `resume`: a training worked on by this process, with no server needed."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.cli.finetune_plan import read_recipe
from services.cli.interrupt import first_interrupt
from services.cli.output import print_json
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from finetune.config import Recipe
    from services.jobs.worker import Worker
    from services.storage.tuning_tables import TuningRow
    from services.wiring import Services

CURVE = "loss.png"
UNITS = {"supervised": "nats per token"}
"""What a method's loss is measured in, where that means something."""

LOOK_S = 0.2
FILES = ("training_file", "validation_file")


@click.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@pass_session
def run(session: Session, recipe: Path, as_json: bool) -> None:
    """Tune a model as a recipe says, here and now.

    Ctrl-C loses nothing but the steps since the last checkpoint; 'loam finetune resume' goes on.
    """
    wanted = read_recipe(recipe)
    with session.services() as services:
        worker = services.new_tuning_worker()
        _work(services, worker, _created(services, wanted, worker.owner), as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--detach", is_flag=True, help="Leave the work to a server or to 'loam worker'.")
@json_option
@pass_session
def resume(session: Session, job_id: str, detach: bool, as_json: bool) -> None:
    """Go on with a job that was paused, interrupted or failed, from its last checkpoint."""
    from services.cli.tuning_jobs import named_job, show
    from services.storage.tuning import events_after

    with session.services() as services:
        worker = services.new_tuning_worker()
        with services.database.write() as database:
            row = named_job(database, job_id)
            told = events_after(database, row, 0)
            services.tuning.resume(database, row, owner=None if detach else worker.owner)
        if detach:
            show(row, as_json=as_json)
        else:
            _work(services, worker, row, as_json=as_json, seen=told[-1].seq)


def _created(services: "Services", recipe: "Recipe", owner: str) -> "TuningRow":
    """Make the job, its files put in as if they had been uploaded."""
    from finetune.config import Tuning
    from services.storage.tables import DEFAULT_PROJECT
    from services.tuning_requests import WantedTuning

    ids = {name: _uploaded(services, file) for name in FILES if (file := getattr(recipe, name)) is not None}
    asked = recipe.model_dump(exclude_unset=True, exclude={"model", "suffix", *FILES})
    wanted = WantedTuning(
        model=recipe.model,
        training_file=ids["training_file"],
        validation_file=ids.get("validation_file"),
        suffix=recipe.suffix,
        tuning=Tuning.model_validate(asked),
    )
    with services.database.write() as database:
        return services.tuning.create(database, DEFAULT_PROJECT, wanted, over_http=False, owner=owner)


def _uploaded(services: "Services", path: Path) -> str:
    from services.api.files.service import create_file
    from services.api.idempotency import Creating
    from services.storage.tables import DEFAULT_PROJECT
    from services.tuning_requests import PURPOSE

    creating = Creating(database=services.database, project_id=DEFAULT_PROJECT, path="")
    limit = services.settings.max_file_bytes
    with path.open("rb") as content:
        file = create_file(
            creating, services.blobs, content, filename=path.name, purpose=PURPOSE, expiry=None, max_bytes=limit
        )
    return file.id


def _work(services: "Services", worker: "Worker", row: "TuningRow", *, as_json: bool, seen: int = 0) -> None:
    """Work on a job in a thread and show how it gets on, until it has ended, is paused or Ctrl-C is pressed."""
    from services.cli.tune_progress import Display
    from services.cli.tuning_jobs import latest
    from services.storage.tuning_tables import TuningStatus

    stop = threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="training")
    done = partial(_is_over, services, row)
    # Not a Thread: of one whose `join` is interrupted, Python 3.11 believes that it has ended.
    working = pool.submit(worker.run_until, done, subject=str(row.seq), stop=stop)
    pool.shutdown(wait=False)
    with Display(seen=seen) as display, first_interrupt() as interrupted:
        while not working.done():
            if interrupted.is_set():
                click.echo(f"Keeping a checkpoint. Go on with: loam finetune resume {row.id}", err=True)
                stop.set()
                wait([working])
                raise KeyboardInterrupt
            wait([working], LOOK_S)
            display.show(*latest(services, row, display.seen))
        working.result()
    ended, _ = latest(services, row, display.seen)
    _conclude(services, ended, as_json=as_json)
    click.get_current_context().exit(0 if ended.status == TuningStatus.SUCCEEDED else 1)


def _is_over(services: "Services", row: "TuningRow") -> bool:
    from services.storage.tuning_tables import ENDED_TUNINGS, TuningStatus

    with services.database.read() as database:
        status = database.get_one(type(row), row.seq).status
    return status in (*ENDED_TUNINGS, TuningStatus.PAUSED)


def _conclude(services: "Services", row: "TuningRow", *, as_json: bool) -> None:
    from services.cli.loss_curve import draw
    from services.cli.tuning_jobs import public
    from services.storage.tuning import metrics_of
    from services.tuning import folder_of, model_name

    curve = folder_of(services.settings.tuning_dir, row) / CURVE
    with services.database.read() as database:
        unit = UNITS.get(row.tuning["method"])
        drawn = draw(metrics_of(database, row), curve, title=model_name(row), unit=unit)
    if as_json:
        print_json({**public(row), "loss_curve": str(curve) if drawn else None})
        return
    if row.status == "paused":
        click.echo(f"Paused. Go on with: loam finetune resume {row.id}", err=True)
    elif row.status != "succeeded":
        click.echo(f"Error: {row.error_message or 'The job was cancelled.'}", err=True)
    if row.fine_tuned_model:
        click.echo(f"Tuned model: {row.fine_tuned_model}")
    if drawn:
        click.echo(f"Loss curve:  {curve}")
