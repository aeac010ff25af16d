"""`loam keys`: API keys, made and revoked here and nowhere else."""

from typing import Any

import click

from services.cli.output import moment, print_json, print_table
from services.cli.session import Session, json_option, pass_session


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option("--name", default="", help="What the key is for.")
@json_option
@pass_session
def create(session: Session, name: str, as_json: bool) -> None:
    """Make a key. It is shown once and cannot be had again."""
    from services.storage.keys import create_key
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services, services.database.write() as database:
        row, secret = create_key(database, DEFAULT_PROJECT, name)
        made = {**_public(row), "key": secret}
    if as_json:
        print_json(made)
        return
    click.echo(secret)
    click.echo("Keep it now: only its hash is stored.", err=True)


@keys.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the keys, revoked ones included."""
    from services.storage.keys import list_keys
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services, services.database.read() as database:
        found = [_public(row) for row in list_keys(database, DEFAULT_PROJECT)]
    if as_json:
        print_json(found)
        return
    rows = [
        (key["id"], key["prefix"] + "…", key["name"], *(moment(key[at]) for at in ("created_at", "last_used_at")),
         moment(key["revoked_at"]))
        for key in found
    ]  # fmt: skip
    print_table(("ID", "KEY", "NAME", "CREATED", "LAST USED", "REVOKED"), rows)


@keys.command()
@click.argument("key_id", metavar="ID")
@pass_session
def revoke(session: Session, key_id: str) -> None:
    """Revoke a key at once, by the id that 'list' gives."""
    from services.errors import NotFound
    from services.storage.keys import revoke_key
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services, services.database.write() as database:
        if not revoke_key(database, DEFAULT_PROJECT, key_id):
            raise NotFound(f"There is no live key {key_id!r}. 'loam keys list' shows them.")
    click.echo(f"Revoked {key_id}.")


def _public(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("id", "name", "prefix", "created_at", "last_used_at", "revoked_at")}
