"""`loam stores`: vector stores, by name or id."""

from dataclasses import asdict

import click

from services.cli.output import moment, print_json, print_table, size
from services.cli.session import Session, json_option, named_store, pass_session

ON = "on"
graph_option = click.option(
    "--graph", type=click.Choice([ON, "off"]), help="Whether it is also searched over what its passages name."
)


@click.group()
def stores() -> None:
    """List, show, create, update and delete vector stores."""


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
    from services.storage.overview import document_overviews, generation_overviews, store_overview

    with session.services() as services, services.database.read() as database:
        row = named_store(database, store)
        overview, documents = store_overview(database, row), document_overviews(database, row.id)
        generations = generation_overviews(database, row.id)
    if as_json:
        files = [asdict(document) for document in documents]
        print_json({**asdict(overview), "files": files, "generations": [asdict(one) for one in generations]})
        return
    counts = ", ".join(f"{count} {status}" for status, count in overview.documents.items() if count)
    click.echo(f"{overview.name or '-'}  {overview.id}  {overview.embedder}")
    click.echo(f"{counts or 'no documents'}; {overview.chunks} chunks; {size(overview.usage_bytes)}\n")
    rows = [(one.filename, one.status, one.chunks, one.file_id, one.error) for one in documents]
    print_table(("FILE", "STATUS", "CHUNKS", "ID", "REASON"), rows)
    click.echo("")
    made = [
        (one.id, one.state, one.embedder, one.chunk_tokens, one.overlap_tokens, ON if one.graph else "",
         f"{one.documents_done}/{one.documents}", one.error)
        for one in generations
    ]  # fmt: skip
    print_table(("GENERATION", "STATE", "EMBEDDER", "TOKENS", "OVERLAP", "GRAPH", "DOCUMENTS", "REASON"), made)


@stores.command()
@click.argument("store", metavar="NAME")
@graph_option
@json_option
@pass_session
def create(session: Session, store: str, graph: str | None, as_json: bool) -> None:
    """Make an empty vector store."""
    from services.errors import BadRequest
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import create_store, find_store_by_name

    with session.services() as services, services.database.write() as database:
        if find_store_by_name(database, DEFAULT_PROJECT, store) is not None:
            raise BadRequest(f"There is a vector store {store!r} already.")
        embedder = services.settings.embedder
        made = create_store(database, DEFAULT_PROJECT, name=store, embedder=embedder, graph=graph == ON)
    if as_json:
        print_json({"id": made.id, "name": made.name})
        return
    click.echo(made.id)


@stores.command()
@click.argument("store", metavar="NAME")
@click.option("--embedder", metavar="ID", help="An embedder of 'loam models list'.")
@click.option("--chunk-tokens", type=int, metavar="N", help="How large a chunk may be, in the embedder's tokens.")
@click.option("--overlap", type=int, metavar="N", help="How much of a chunk the next one repeats, in tokens.")
@graph_option
@json_option
@pass_session
def update(
    session: Session,
    store: str,
    embedder: str | None,
    chunk_tokens: int | None,
    overlap: int | None,
    graph: str | None,
    as_json: bool,
) -> None:
    """Make a store's index anew, with another embedder, other chunks or a knowledge graph.

    It is searched as it was until that is done.
    """
    if embedder is None and chunk_tokens is None and overlap is None and graph is None:
        raise click.UsageError("Say what is to change: --embedder, --chunk-tokens, --overlap or --graph.")
    _update(session, store, embedder, (chunk_tokens, overlap), as_json, None if graph is None else graph == ON)


@stores.command()
@click.argument("store", metavar="NAME")
@click.option("--embedder", required=True, metavar="ID", help="An embedder of 'loam models list'.")
@json_option
@pass_session
def move(session: Session, store: str, embedder: str, as_json: bool) -> None:
    """The same as 'update --embedder'."""
    _update(session, store, embedder, (None, None), as_json)


def _update(
    session: Session,
    store: str,
    embedder: str | None,
    sizes: tuple[int | None, int | None],
    as_json: bool,
    graph: bool | None = None,
) -> None:
    from services.cli.making import make_generation
    from services.embedders import embedder_setting
    from services.generations import changed_chunking
    from services.storage.generations import live_generation
    from services.storage.overview import generation_overview
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services:
        with services.database.read() as database:
            row = named_store(database, store)
            live = live_generation(database, row.id)
            unchanged = generation_overview(database, live)
        name = None if embedder is None else embedder_setting(services, DEFAULT_PROJECT, embedder)
        chunking = changed_chunking(live, *sizes)
        made = make_generation(
            services,
            row.id,
            lambda database, found, owner: services.generations.begin(
                database, found, embedder=name, chunking=chunking, graph=graph, owner=owner
            ),
        )
    now = made or unchanged
    if as_json:
        print_json({"id": row.id, "changed": made is not None, "generation": asdict(now), "embedder": now.embedder})
        return
    how = f"{now.embedder}, chunks of {now.chunk_tokens} tokens, {now.overlap_tokens} of them repeated"
    how += ", and a knowledge graph" if now.graph else ""
    click.echo(f"{row.name or row.id} is searched with {how}{'' if made else ' already'}: {now.documents} documents.")


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
