"""`loam files`: the files that were uploaded or ingested."""

from typing import TYPE_CHECKING, Any

import click

from services.cli.output import moment, print_json, print_table, size
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as DatabaseSession

    from services.storage.tables import FileRow


@click.group()
def files() -> None:
    """List, show and delete files."""


@files.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the files."""
    from services.storage.files import all_files
    from services.storage.tables import DEFAULT_PROJECT

    with session.services() as services, services.database.read() as database:
        found = [_public(file) for file in all_files(database, DEFAULT_PROJECT)]
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], one["filename"], size(one["bytes"]), one["purpose"], moment(one["created_at"])) for one in found
    ]
    print_table(("ID", "FILE", "SIZE", "PURPOSE", "CREATED"), rows)


@files.command()
@click.argument("file_id", metavar="ID")
@json_option
@pass_session
def show(session: Session, file_id: str, as_json: bool) -> None:
    """Show a file and what became of it in each vector store."""
    from services.storage.overview import documents_of_file

    with session.services() as services, services.database.read() as database:
        file = _named(database, file_id)
        shown, documents = _public(file), documents_of_file(database, file)
    if as_json:
        print_json({**shown, "vector_stores": documents})
        return
    click.echo(f"{shown['filename']}  {size(shown['bytes'])}  {shown['purpose']}  {moment(shown['created_at'])}\n")
    print_table(("STORE", "STATUS", "REASON"), [(one["store_id"], one["status"], one["error"]) for one in documents])


@files.command()
@click.argument("file_id", metavar="ID")
@pass_session
def delete(session: Session, file_id: str) -> None:
    """Delete a file, and its document in every vector store."""
    from services.storage.files import delete_file, let_go

    with session.services() as services:
        with services.database.write() as database:
            file = _named(database, file_id)
            delete_file(database, file)
        let_go(services.database, services.blobs, [file.sha256])
    click.echo(f"Deleted {file_id}.")


def _named(database: "DatabaseSession", file_id: str) -> "FileRow":
    from services.errors import NotFound
    from services.storage.files import find_file
    from services.storage.tables import DEFAULT_PROJECT

    file = find_file(database, DEFAULT_PROJECT, file_id)
    if file is None:
        raise NotFound(f"There is no file {file_id!r}. 'loam files list' shows them.")
    return file


def _public(file: "FileRow") -> dict[str, Any]:
    return {
        "id": file.id,
        "filename": file.filename,
        "bytes": file.size_bytes,
        "purpose": file.purpose,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
    }
