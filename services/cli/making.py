"""Waiting for a generation of a store's index while it is made, here or by a server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.cli.progress import progress_bar

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as DatabaseSession

    from services.storage.overview import GenerationOverview
    from services.storage.tables import GenerationRow, VectorStoreRow
    from services.wiring import Services

LOOK_S = 0.3


def make_generation(
    services: "Services",
    store_id: str,
    begin: "Callable[[DatabaseSession, VectorStoreRow, str], GenerationRow | None]",
) -> "GenerationOverview | None":
    """Begin a generation for a worker of this process and wait for its end; None where there is nothing to make.

    Ctrl-C leaves it to the next worker. Raises ServiceError when it failed or was called off.
    """
    from services.storage.tables import DEFAULT_PROJECT, GenerationRow
    from services.storage.vector_stores import find_store

    worker = services.new_index_worker()
    with services.database.write() as database:
        store = find_store(database, DEFAULT_PROJECT, store_id)
        begun = store and begin(database, store, worker.owner)
    if not begun:
        return None

    def ended() -> bool:
        with services.database.read() as database:
            row = database.get(GenerationRow, begun.id)
            return row is None or row.state not in ("building", "ready")

    with _shown(services, begun):
        worker.run_until(ended, subject=str(begun.id))
    return _result(services, begun.id)


@contextmanager
def _shown(services: "Services", generation: "GenerationRow") -> Iterator[None]:
    """Show how far a generation is made while something else goes on."""
    from services.storage.generations import progress_of

    done = threading.Event()
    with progress_bar() as progress:
        bar = progress.add_task("Indexing", total=None)

        def look() -> None:
            while not done.wait(LOOK_S):
                with services.database.read() as database:
                    found = progress_of(database, generation)
                progress.update(bar, completed=found.done, total=found.total)

        looking = threading.Thread(target=look, name="progress", daemon=True)
        looking.start()
        try:
            yield
        finally:
            done.set()
            looking.join()


def _result(services: "Services", generation_id: int) -> "GenerationOverview":
    from services.errors import ServiceError
    from services.storage.overview import generation_overview
    from services.storage.tables import GenerationRow

    with services.database.read() as database:
        row = database.get(GenerationRow, generation_id)
        if row is None or row.state != "live":
            said = row and row.error
            raise ServiceError(
                f"The index could not be made: {said}" if said else "The making of the index was called off."
            )
        return generation_overview(database, row)
