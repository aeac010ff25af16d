"""`loam finetune list`, `events`, `cancel` and `pause`: the jobs of a home, whoever works on them."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import moment, print_json, print_table
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as DatabaseSession

    from services.storage.tuning_tables import TuningEventRow, TuningRow
    from services.wiring import Services

LOOK_S = 0.5


@click.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the jobs, newest first."""
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.tuning import all_jobs

    with session.services() as services, services.database.read() as database:
        found = all_jobs(database, DEFAULT_PROJECT)
    if as_json:
        print_json([public(row) for row in found])
        return
    rows = [(row.id, row.status, row.model, moment(row.created_at), row.fine_tuned_model) for row in found]
    print_table(("ID", "STATUS", "BASE", "CREATED", "TUNED MODEL"), rows)


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on until the job has ended or is paused.")
@json_option
@pass_session
def events(session: Session, job_id: str, follow: bool, as_json: bool) -> None:
    """Show what a job has told, oldest first; with --json --follow as one JSON object a line."""
    from services.storage.tuning_tables import ENDED_TUNINGS, TuningStatus

    with session.services() as services:
        with services.database.read() as database:
            row = named_job(database, job_id)
        seen = 0
        while True:
            row, told = latest(services, row, seen)
            told = settled(row, told) if follow else told
            _print_events(told, as_json=as_json, lines=follow)
            seen = told[-1].seq if told else seen
            if not follow or (row.status in (*ENDED_TUNINGS, TuningStatus.PAUSED) and not told):
                return
            if not told:
                time.sleep(LOOK_S)


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
@pass_session
def cancel(session: Session, job_id: str, as_json: bool) -> None:
    """End a job; its checkpoints stay."""
    _change(session, job_id, "cancel", as_json=as_json)


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
@pass_session
def pause(session: Session, job_id: str, as_json: bool) -> None:
    """Stop a job at a checkpoint, to go on later with 'loam finetune resume'."""
    _change(session, job_id, "pause", as_json=as_json)


def named_job(database: "DatabaseSession", job_id: str) -> "TuningRow":
    """Give the job of that id. Raises NotFound."""
    from services.errors import NotFound
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.tuning import find_job

    row = find_job(database, DEFAULT_PROJECT, job_id)
    if row is None:
        raise NotFound(f"There is no fine-tuning job {job_id!r}. 'loam finetune list' shows them.")
    return row


def latest(services: "Services", row: "TuningRow", seen: int) -> "tuple[TuningRow, Sequence[TuningEventRow]]":
    """Give a job as it is now, and its events after one."""
    from services.storage.tuning import events_after

    with services.database.read() as database:
        # Events first: what a job tells at its end is then never missed by who saw it ended.
        now = database.get_one(type(row), row.seq)
        return now, events_after(database, now, seen)


def settled(row: "TuningRow", events: "Sequence[TuningEventRow]") -> "Sequence[TuningEventRow]":
    """Leave out a last step that may yet be told more of, as its validation loss."""
    from services.storage.tuning_tables import EventType, TuningStatus

    going_on = row.status in (TuningStatus.RUNNING, TuningStatus.PAUSING)
    return events[:-1] if going_on and events and events[-1].type == EventType.METRICS else events


def public(row: "TuningRow") -> dict[str, Any]:
    """Give a job as the API does."""
    from services.api.fine_tuning.schemas import job_object

    return job_object(row).model_dump(mode="json", exclude_unset=True)


def show(row: "TuningRow", *, as_json: bool) -> None:
    """Say what a job's state is."""
    if as_json:
        print_json(public(row))
    else:
        click.echo(f"{row.id} is {row.status.replace('_', ' ')}.")


def _change(session: Session, job_id: str, act: str, *, as_json: bool) -> None:
    with session.services() as services:
        with services.database.write() as database:
            row = named_job(database, job_id)
            getattr(services.tuning, act)(database, row)
        show(row, as_json=as_json)


def _print_events(told: "Sequence[TuningEventRow]", *, as_json: bool, lines: bool) -> None:
    from services.api.fine_tuning.schemas import event_object

    if not as_json:
        for event in told:
            click.echo(f"{moment(event.created_at)}  {event.level.ljust(5)} {event.message}")
        return
    objects = [event_object(event).model_dump(mode="json", exclude_unset=True) for event in told]
    if not lines:
        print_json(objects)
    else:
        for one in objects:
            click.echo(json.dumps(one, ensure_ascii=False))
