"""Ingests a folder in a process that kills itself, without warning, at a given one of its steps.

    python -m tests.fakes.killed_ingest HOME FOLDER STEP

A step is a statement of SQL, a commit, or a file put on the disk. What is finished, and so
acknowledged, is printed at once; a run that lives to its end prints how many steps it took.
"""

import os
import signal
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from sqlalchemy import event

from rag.ports import Vectors
from services.folders import walk
from services.jobs.job import Finished
from services.settings import Settings
from services.storage.tables import DEFAULT_PROJECT, JobState
from services.storage.vector_stores import create_store, find_store_by_name
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder

STORE = "docs"


def store_id(services: Services) -> str:
    with services.database.write() as session:
        found = find_store_by_name(session, DEFAULT_PROJECT, STORE)
        return (found or create_store(session, DEFAULT_PROJECT, name=STORE, embedder="words")).id


def ingest_folder(services: Services, folder: Path) -> None:
    worker = services.new_worker()
    files = walk([folder])
    added = list(services.ingestion.add_paths(DEFAULT_PROJECT, store_id(services), files, owner=worker.owner))
    names = {one.job_id: one.file.name for one in added}

    def acknowledge(finished: Finished) -> None:
        if finished.state is JobState.SUCCEEDED:
            sys.stdout.write(f"{names[finished.job_id]}\n")
            sys.stdout.flush()

    worker.run_until_idle([one.job_id for one in added if one.job_id], acknowledge)


def count_steps(services: Services, last: int) -> "count[int]":
    """Count the steps of this process from now on, and kill it at one of them."""
    steps = count(1)

    def step(*_arguments: object) -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    class Steps(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            step()
            return super().embed(texts)

    services.embedder = Steps()
    event.listen(services.database.engine, "before_cursor_execute", step)
    event.listen(services.database.engine, "commit", step)
    sys.addaudithook(lambda name, _arguments: step() if name in ("os.rename", "os.remove") else None)
    return steps


def main() -> None:
    home, folder, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    services = open_services(Settings(home=home))
    steps = count_steps(services, last)
    ingest_folder(services, folder)
    sys.stdout.write(f"{next(steps)}\n")


if __name__ == "__main__":
    main()
