"""The store that an evaluation asks: one that is there, or one made for it in a home that goes with it."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import click

from services.cli.progress import progress_bar
from services.cli.session import named_store

if TYPE_CHECKING:
    from services.wiring import Services

FRESH = "made for this run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store to ask, with the services over it; `documents` are the names of those that can be found in it."""

    services: "Services"
    store_id: str
    name: str
    documents: frozenset[str]


def opened_store(services: "Services", store: str) -> Opened:
    """Give a store that is there. Raises NotFound."""
    with services.database.read() as database:
        row = named_store(database, store)
    return _opened(services, row.id, store)


@contextmanager
def fresh_store(services: "Services", paths: Sequence[Path]) -> Iterator[Opened]:
    """Make a store of these files and folders, for as long as it is asked. The home of `services` is not touched.

    Models and embedder are those of `services`, whatever declares them.
    """
    from services.wiring import open_services

    with tempfile.TemporaryDirectory(prefix="loam-eval-") as folder:
        settings = services.settings.model_copy(update={"home": Path(folder), "database_url": None})
        fresh = open_services(settings, lambda: services.embedder)
        fresh.router, fresh.calibrations = services.router, services.calibrations
        try:
            yield _opened(fresh, _filled(fresh, paths), FRESH)
        finally:
            fresh.close()


@contextmanager
def fresh_store_of_texts(services: "Services", texts: Mapping[str, str]) -> Iterator[Opened]:
    """Make a store of texts by their file names, for as long as it is asked."""
    with tempfile.TemporaryDirectory(prefix="loam-texts-") as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding="utf-8", newline="")
        with fresh_store(services, [Path(folder)]) as opened:
            yield opened


def filename_of(text_id: str) -> str:
    """Give the file name of a collection's text."""
    return f"{quote(text_id, safe=' ')}.txt"


def text_id_of(filename: str) -> str:
    """Give the id of a collection's text by the name of its file: the last part, without its suffix."""
    return unquote(PurePath(filename).stem)


def _filled(services: "Services", paths: Sequence[Path]) -> str:
    from services.folders import walk
    from services.storage.tables import DEFAULT_PROJECT
    from services.storage.vector_stores import create_store

    with services.database.write() as database:
        store = create_store(database, DEFAULT_PROJECT, name="evaluation", embedder=services.settings.embedder)
    worker = services.new_worker()
    with progress_bar() as progress:
        adding = services.ingestion.add_paths(DEFAULT_PROJECT, store.id, walk(paths), owner=worker.owner)
        added = list(progress.track(adding, description="Looking"))
        jobs = [one.job_id for one in added if one.job_id is not None]
        bar = progress.add_task("Reading", total=len(jobs))
        worker.run_until_idle(jobs, report=lambda finished: progress.advance(bar, finished.state != "queued"))
    return store.id


def _opened(services: "Services", store_id: str, name: str) -> Opened:
    from services.storage.overview import document_overviews

    with services.database.read() as database:
        found = document_overviews(database, store_id)
    documents = frozenset(one.filename for one in found if one.chunks)
    for one in found:
        if one.error:
            click.echo(f"✗ {one.filename}: {one.error}", err=True)
    return Opened(services=services, store_id=store_id, name=name, documents=documents)
