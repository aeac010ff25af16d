"""`loam stores`: vector stores, by name or id."""

from dataclasses import asdict

import click

from services.cli.output import moment, print_json, print_table, size
from services.cli.progress import progress_bar
from services.cli.session import Session, json_option, named_store, pass_session


@click.group()
def stores() -> None:
    """List, show, create, move and delete vector stores."""


@stores.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the vector stores."""
    from services.storage.overview import store_overviews
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services, services.database.read() as database:
        found = store_overviews(database, DEFAULT_PROJECT)
    if as_json:
        print_json([asdict(store) for store in found])
        return
    rows = [
        (store.name, store.id, sum(store.documents.values()), store.chunks, size(store.usage_bytes),
         moment(store.created_at))
        for store in found
    ]  # fmt: skip
    print_table(("NAME", "ID", "DOCUMENTS", "CHUNKS", "SIZE", "CREATED"), rows)


@stores.command()
@click.argument("store", metavar="NAME")
@json_option
@pass_session
def show(session: Session, store: str, as_json: bool) -> None:
    """Show a vector store and its documents, with what failed and why."""
    from services.storage.overview import document_overviews, store_overview

    with session.services() as services, services.database.read() as database:
        row = named_store(database, store)
        overview, documents = store_overview(database, row), document_overviews(database, row.id)
    if as_json:
        print_json({**asdict(overview), "files": [asdict(document) for document in documents]})
        return
    counts = ", ".join(f"{count} {status}" for status, count in overview.documents.items() if count)
    click.echo(f"{overview.name or '-'}  {overview.id}  {overview.embedder}")
    click.echo(f"{counts or 'no documents'}; {overview.chunks} chunks; {size(overview.usage_bytes)}\n")
    rows = [(one.filename, one.status, one.chunks, one.file_id, one.error) for one in documents]
    print_table(("FILE", "STATUS", "CHUNKS", "ID", "REASON"), rows)


@stores.command()
@click.argument("store", metavar="NAME")
@json_option
@pass_session
def create(session: Session, store: str, as_json: bool) -> None:
    """Make an empty vector store."""
    from services.errors import BadRequest
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import create_store, find_store_by_name

    with session.services() as services, services.database.write() as database:
        if find_store_by_name(database, DEFAULT_PROJECT, store) is not None:
            raise BadRequest(f"There is a vector store {store!r} already.")
        made = create_store(database, DEFAULT_PROJECT, name=store, embedder=services.settings.embedder)
    if as_json:
        print_json({"id": made.id, "name": made.name})
        return
    click.echo(made.id)


@stores.command()
@click.argument("store", metavar="NAME")
@click.option("--embedder", required=True, metavar="ID", help="An embedder of 'loam models list'.")
@json_option
@pass_session
def move(session: Session, store: str, embedder: str, as_json: bool) -> None:
    """Make a store's vectors anew with another embedder. It is searched as it was until all are made."""
    from services.embedders import listed_embedder
    from services.moving import move_store
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        with services.database.read() as database:
            row = named_store(database, store)
        target = listed_embedder(services, DEFAULT_PROJECT, embedder)
        name = services.settings.embedder if embedder == services.settings.embedder_name else embedder
        with progress_bar() as progress:
            task = progress.add_task("Embedding", total=None)
            moved = move_store(
                services.database,
                DEFAULT_PROJECT,
                row.id,
                target,
                name=name,
                tell=lambda done, total: progress.update(task, completed=done, total=total),
            )
    if as_json:
        print_json({"id": row.id, "embedder": name, **asdict(moved)})
        return
    click.echo(
        f"{row.name or row.id} is searched with {name}: {moved.windows} pieces, {moved.embedded} of them embedded."
    )


@stores.command()
@click.argument("store", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def delete(session: Session, store: str, yes: bool) -> None:
    """Delete a vector store with its documents. Uploaded files stay."""
    from services.storage.documents import delete_store

    with session.services() as services:
        with services.database.read() as database:
            row = named_store(database, store)
        if not yes:
            click.confirm(f"Delete the vector store {row.name or row.id!r} and its documents?", abort=True, err=True)
        with services.database.write() as database:
            delete_store(database, named_store(database, row.id))
        services.searching.forget(row.id)
    click.echo(f"Deleted {row.id}.")
