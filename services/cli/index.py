"""`loam index`: whether a store's index is whole, what mends it, and the generations that there are of it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from services.cli.output import print_json
from services.cli.session import Session, json_option, named_store, pass_session, store_option

if TYPE_CHECKING:
    from services.storage.tables import VectorStoreRow
    from services.verifying import Problem
    from services.wiring import Services


@click.group()
def index() -> None:
    """Verify, repair, rebuild and roll back a vector store's index."""


@index.command()
@store_option
@json_option
@pass_session
def verify(session: Session, store: str, as_json: bool) -> None:
    """Compare the database and the index; say what differs. Exits with 1 when something does."""
    from services.mending import find_problems

    with session.services() as services:
        problems = find_problems(services, _named(services, store))
    if as_json:
        print_json({"problems": [problem.says for problem in problems]})
    else:
        _tell(problems)
        if not problems:
            click.echo(f"{store}: the database and the index agree.")
    if problems:
        click.get_current_context().exit(1)


@index.command()
@store_option
@json_option
@pass_session
def repair(session: Session, store: str, as_json: bool) -> None:
    """Mend what 'verify' finds; say what was mended. Exits with 1 when something is left."""
    from services.mending import find_problems, mend

    with session.services() as services:
        row = _named(services, store)
        problems = find_problems(services, row)
        if problems:
            mend(services, row, problems)
        left = find_problems(services, row) if problems else []
    remaining = {problem.says for problem in left}
    mended = [problem.says for problem in problems if problem.says not in remaining]
    if as_json:
        print_json({"mended": mended, "problems": [problem.says for problem in left]})
    else:
        for says in mended:
            click.echo(f"mended: {says}")
        _tell(left)
        click.echo(f"{store}: {len(mended)} mended, {len(left)} left.")
    if left:
        click.get_current_context().exit(1)


@index.command()
@store_option
@json_option
@pass_session
def rebuild(session: Session, store: str, as_json: bool) -> None:
    """Make the index on the disk anew from the database. Nothing is embedded."""
    from services.mending import rebuild as make_anew

    with session.services() as services:
        chunks = make_anew(services, _named(services, store))
    if as_json:
        print_json({"chunks": chunks})
        return
    click.echo(f"{store}: the index is made anew, with {chunks} chunks.")


@index.command()
@store_option
@json_option
@pass_session
def rollback(session: Session, store: str, as_json: bool) -> None:
    """Go back to the generation that was live before, brought up to date with what has changed since."""
    from services.cli.making import make_generation

    with session.services() as services:
        row = _named(services, store)
        made = make_generation(
            services,
            row.id,
            lambda database, found, owner: services.generations.roll_back(database, found, owner=owner),
        )
    _told(as_json, store, asdict(made) if made else {})


@index.command()
@store_option
@json_option
@pass_session
def cancel(session: Session, store: str, as_json: bool) -> None:
    """Call off the generation that is being made. The live one answers on."""
    from services.pruning import prune

    with session.services() as services:
        with services.database.write() as database:
            cancelled = services.generations.cancel(database, named_store(database, store))
        prune(services.database, services.indexes)
    if as_json:
        print_json({"generation": cancelled.id, "state": "cancelled"})
        return
    click.echo(f"{store}: generation {cancelled.id} is called off.")


def _named(services: "Services", store: str) -> "VectorStoreRow":
    with services.database.read() as database:
        return named_store(database, store)


def _tell(problems: "list[Problem]") -> None:
    for problem in problems:
        click.echo(problem.says)


def _told(as_json: bool, store: str, made: dict[str, Any]) -> None:
    if as_json:
        print_json(made)
        return
    click.echo(f"{store} is searched by generation {made['id']}: {made['embedder']}, {made['chunk_tokens']} tokens.")
