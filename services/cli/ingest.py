"""`loam ingest`: files and folders into a vector store, by the same queue and worker that the server has."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.cli.interrupt import first_interrupt
from services.cli.output import print_json
from services.cli.progress import progress_bar
from services.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from services.folders import FoundFile
    from services.ingestion import Added
    from services.storage.overview import DocumentOverview
    from services.wiring import Services

WATCH_S = 1.0
WATCH_SHARE = 5
"""Looking takes at most a sixth of the time: large folders are looked at less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an ingest came to; `failures` are the names of files, each with its reason."""

    store_id: str
    files: Counter[str]
    chunks: int
    failures: Sequence[tuple[str, str]]
    seconds: float
    pruned: bool = False

    def public(self, store: str) -> dict[str, Any]:
        kinds = ("new", "unchanged", "replaced", "failed", *(["removed"] if self.pruned else []))
        return {
            "store": {"id": self.store_id, "name": store},
            "files": {kind: self.files[kind] for kind in kinds},
            "chunks": self.chunks,
            "failures": [{"filename": name, "reason": reason} for name, reason in self.failures],
            "seconds": round(self.seconds, 3),
        }


@click.command()
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, readable=False, path_type=Path)
)
@click.option("--store", required=True, metavar="NAME", help="The vector store; made if it is not there.")
@click.option("--prune", is_flag=True, help="Remove what came from these folders and is no longer in them.")
@click.option("--watch", is_flag=True, help="Follow the folders until Ctrl-C: what is new, changed, renamed or gone.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a file failed.")
@json_option
@pass_session
def ingest(
    session: Session, paths: tuple[Path, ...], store: str, prune: bool, watch: bool, strict: bool, as_json: bool
) -> None:
    """Read files and folders into a vector store."""
    with session.services(embedding=True) as services:
        show = _print if as_json else _show
        if watch:
            _follow(services, paths, store, lambda summary: show(summary, store))
            return
        summary = _ingest(services, paths, store, prune=prune)
    show(summary, store)
    if strict and summary.failures:
        click.get_current_context().exit(1)


def _follow(services: "Services", paths: Sequence[Path], store: str, show: Callable[[Summary], None]) -> None:
    """Ingest, then what changes, and remove what goes; end with Ctrl-C, when what was begun is done."""
    from services.folder_sync import FolderWatch

    watch = FolderWatch(paths)
    show(_ingest(services, paths, store, prune=True))
    click.echo("Watching. Ctrl-C ends it.", err=True)
    with first_interrupt() as interrupted:
        looked_s = 0.0
        while not interrupted.wait(max(WATCH_S, WATCH_SHARE * looked_s)):
            begun = time.perf_counter()
            changes = watch.changes()
            looked_s = time.perf_counter() - begun
            if changes:
                show(_ingest(services, paths, store, files=changes.files, prune=changes.gone))


def _ingest(
    services: "Services", paths: Sequence[Path], store: str, *, files: Iterable["FoundFile"] | None = None, prune: bool
) -> Summary:
    """Read the files, by default all of the paths; then remove what has gone: what was renamed keeps its vectors so."""
    from services.folder_sync import remove_gone
    from services.folders import walk
    from services.storage.overview import document_overviews
    from services.storage.tables import DEFAULT_PROJECT

    begun = time.perf_counter()
    store_id = _made(services, store)
    with services.database.read() as database:
        before = {document.file_id for document in document_overviews(database, store_id) if document.chunks}
    worker = services.new_worker()
    with progress_bar() as progress:
        wanted = walk(paths) if files is None else files
        adding = services.ingestion.add_paths(DEFAULT_PROJECT, store_id, wanted, owner=worker.owner)
        added = list(progress.track(adding, description="Looking"))
        jobs = [one.job_id for one in added if one.job_id is not None]
        bar = progress.add_task("Reading", total=len(jobs))
        worker.run_until_idle(jobs, report=lambda finished: progress.advance(bar, finished.state != "queued"))
    with services.database.read() as database:
        after = {document.file_id: document for document in document_overviews(database, store_id)}
    gone = remove_gone(services.database, services.blobs, services.ingestion, store_id, paths) if prune else []
    summary = _summed(store_id, added, before, after, time.perf_counter() - begun)
    summary.files["removed"] = len(gone)
    return replace(summary, pruned=prune)


def _made(services: "Services", store: str) -> str:
    """Give the id of the store of that name, made if there is none."""
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import create_store, find_store_by_name

    with services.database.write() as database:
        row = find_store_by_name(database, DEFAULT_PROJECT, store)
        row = row or create_store(database, DEFAULT_PROJECT, name=store, embedder=services.settings.embedder)
        return row.id


def _summed(
    store_id: str,
    added: Iterable["Added"],
    before: set[str],
    after: dict[str, "DocumentOverview"],
    seconds: float,
) -> Summary:
    """Count what the database says of each file, whoever did the work."""
    files: Counter[str] = Counter()
    chunks = 0
    failures = []
    for one in added:
        document = after.get(one.file_id)
        if document is None or document.status != "completed":
            files["failed"] += 1
            failures.append((one.file.name, (document and document.error) or "It was cancelled or deleted meanwhile."))
        elif one.job_id is None:
            files["unchanged"] += 1
        else:
            files["replaced" if one.file_id in before else "new"] += 1
            chunks += document.chunks
    return Summary(store_id=store_id, files=files, chunks=chunks, failures=failures, seconds=seconds)


def _print(summary: Summary, store: str) -> None:
    print_json(summary.public(store))


def _show(summary: Summary, store: str) -> None:
    for name, reason in summary.failures:
        click.echo(f"✗ {name}: {reason}", err=True)
    files = summary.files
    removed = f", {files['removed']} removed" if summary.pruned else ""
    click.echo(
        f"{store}: {files['new']} new, {files['unchanged']} unchanged, {files['replaced']} replaced, "
        f"{files['failed']} failed{removed}; {summary.chunks} chunks in {summary.seconds:.1f} s"
    )
