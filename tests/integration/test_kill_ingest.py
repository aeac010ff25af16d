"""Whenever an ingest is killed: what it acknowledged is there, nothing is by half, and the next run does the rest."""

import hashlib
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from rag.index import StoreIndex
from services.settings import Settings
from services.storage.chunks import SqlChunkSource
from services.storage.tables import ChunkRow, DocumentRow, DocumentTextRow, FileRow, JobRow, VectorRow, WindowRow
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.killed_ingest import ingest_folder, store_id
from tests.fakes.stored import live_of

FILES = 8
MOMENTS = 12
NEVER = 10**9
NAMES = {f"{number}.txt" for number in range(FILES)}


def write_folder(path: Path, version: str) -> Path:
    """Files of several chunks each; every word tells the version."""
    path.mkdir(exist_ok=True)
    for number in range(FILES):
        words = (f"{version}{number}w{word}." for word in range(600))
        (path / f"{number}.txt").write_text(" ".join(words))
    return path


def start(tmp_path: Path, step: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.fakes.killed_ingest", tmp_path / "home", tmp_path / "docs", str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def run(tmp_path: Path, step: int) -> list[str]:
    """Ingest the folder in a process that dies at a step; give the lines that it printed."""
    process = start(tmp_path, step)
    printed = process.communicate()[0].splitlines()
    assert process.returncode == (0 if step == NEVER else -signal.SIGKILL)
    return printed


def opened(tmp_path: Path) -> "closing[Services]":
    services = open_services(Settings(home=tmp_path / "home"))
    services.embedder = WordEmbedder()
    return closing(services)


def step_at(steps: int, moment: int) -> int:
    return max(1, steps * moment // MOMENTS)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many steps an ingest of the folder takes that is not killed."""
    tmp_path = tmp_path_factory.mktemp("unkilled")
    write_folder(tmp_path / "docs", "old")
    return int(run(tmp_path, NEVER)[-1])


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_ingest_loses_nothing_and_the_next_completes_it(tmp_path: Path, steps: int, moment: int) -> None:
    folder = write_folder(tmp_path / "docs", "old")
    acknowledged = run(tmp_path, step_at(steps, moment))
    with opened(tmp_path) as services:
        assert set(acknowledged) <= searchable(services, "old")
        ingest_folder(services, folder)
        assert searchable(services, "old") == NAMES
        check_all_in_order(services)


@pytest.mark.parametrize("moment", range(0, MOMENTS, 3))
def test_killed_replacement_leaves_each_document_old_or_new(tmp_path: Path, steps: int, moment: int) -> None:
    folder = write_folder(tmp_path / "docs", "old")
    run(tmp_path, NEVER)
    write_folder(folder, "new")
    acknowledged = run(tmp_path, step_at(steps, moment))
    with opened(tmp_path) as services:
        new, old = searchable(services, "new"), searchable(services, "old")
        assert set(acknowledged) <= new
        assert (new | old, new & old) == (NAMES, set())
        ingest_folder(services, folder)
        assert (searchable(services, "new"), searchable(services, "old")) == (NAMES, set())
        check_all_in_order(services)


def test_two_ingests_of_one_folder_at_once_make_one_document_a_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "docs", "old")
    with opened(tmp_path) as services:
        store_id(services)
    both = [start(tmp_path, NEVER) for _ in range(2)]
    assert [len(process.communicate()[0]) > 0 for process in both] == [True, True]
    with opened(tmp_path) as services:
        assert searchable(services, "old") == NAMES
        check_all_in_order(services)


def searchable(services: Services, version: str) -> set[str]:
    """The names of the documents that are searchable in a version, each checked to be whole and of it alone."""
    with services.database.read() as session:
        documents = session.execute(
            select(DocumentRow.seq, DocumentRow.filename, DocumentTextRow.text).join(DocumentTextRow)
        ).all()
        chunks = session.execute(select(ChunkRow.document_seq, ChunkRow.text).order_by(ChunkRow.id)).all()
    for seq, name, text in documents:
        assert " ".join(chunk.text for chunk in chunks if chunk.document_seq == seq) == text, name
    return {name for _, name, text in documents if text.startswith(version)}


def check_all_in_order(services: Services) -> None:
    """One document a file, all completed, their bytes kept, every vector in use, and the index as the database."""
    with services.database.read() as session:
        assert sorted(session.scalars(select(DocumentRow.filename))) == sorted(NAMES)
        assert set(session.scalars(select(DocumentRow.status))) == {"completed"}
        assert set(session.scalars(select(JobRow.state))) == {"succeeded"}
        assert set(session.scalars(select(VectorRow.key))) == set(session.scalars(select(WindowRow.vector_key)))
        sha256s = session.scalars(select(FileRow.sha256)).all()
    for sha256 in sha256s:
        assert hashlib.sha256(services.blobs.read(sha256)).hexdigest() == sha256
    check_index(services)


def check_index(services: Services) -> None:
    source = SqlChunkSource(services.database, live_of(services.database, store_id(services)))
    index = StoreIndex(services.settings.indexes_dir / "checked", embedder_id="words-1", dimensions=64)
    index.sync(source)
    ids = source.chunk_ids()
    assert [row.chunk_id for row in source.rows(ids)] == ids.tolist()
    nearest = index.search_vectors(WordEmbedder().embed(["anything"])[0], len(ids))
    assert sorted(nearest) == ids.tolist()
