"""What befalls an index, or its making, is found and mended; nothing acknowledged is lost, search is as before."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, event, select
from sqlalchemy import update as change
from sqlalchemy.exc import OperationalError

from rag.ports import Vectors
from rag.retrieve import SearchOptions
from services.jobs import queue, worker
from services.settings import Settings
from services.storage.tables import (
    DEFAULT_PROJECT,
    ChunkRow,
    DocumentTextRow,
    IndexedDocumentRow,
    VectorRow,
    WindowRow,
)
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.indexed import (
    SMALL,
    begin,
    filled,
    ingest,
    live,
    mended,
    problems,
    row_of,
    run_jobs,
    states,
    update,
    vectors_are_all_used,
    write,
)
from tests.fakes.killed_ingest import STORE

SEEDS = 20
NEVER = 10**9
WORDS = 400


def found(services: Services, store: str = STORE) -> list[tuple[str, float | None]]:
    """What a search finds of the files that are one chunk however they are cut."""
    hits = services.searching.search(
        DEFAULT_PROJECT, [row_of(services, store).id], "copper ships kettle", SearchOptions(max_results=50)
    )
    short = [hit for hit in hits if not hit.passage.filename[0].isdigit() or "kettle" in hit.passage.text]
    return sorted((hit.passage.filename, hit.cosine) for hit in short)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Indexes as files, whatever the database: it is they that are damaged here."""
    return settings.model_copy(update={"indexes": "files"})


@pytest.fixture
def store(services: Services, tmp_path: Path) -> str:
    return filled(services, tmp_path / "docs")


# --- killed at any step


def run(home: Path, step: int) -> list[str]:
    command = [sys.executable, "-m", "tests.fakes.killed_update", str(home), str(step)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], check=False)
    assert ran.returncode == (0 if step == NEVER else -signal.SIGKILL)
    return ran.stdout.splitlines()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A home with a store of several chunks a file, and how many steps the making of its index takes unkilled."""
    root = tmp_path_factory.mktemp("killed")
    services = open_services(Settings(home=root / "home"))
    services.embedder = WordEmbedder()
    for number in range(4):
        write(root / "docs", f"{number}.txt", " ".join(f"f{number}w{word}." for word in range(WORDS)))
    filled(services, root / "docs", STORE)
    found(services)
    services.close()
    shutil.copytree(root / "home", root / "unkilled")
    return root / "home", int(run(root / "unkilled", NEVER)[-1])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whenever_it_is_killed_one_generation_is_live_and_the_next_run_ends_the_making(
    template: tuple[Path, int], tmp_path: Path, seed: int
) -> None:
    home, steps = template
    shutil.copytree(home, tmp_path / "home")
    acknowledged = run(tmp_path / "home", random.Random(seed).randrange(1, steps))
    services = open_services(Settings(home=tmp_path / "home"))
    services.embedder = WordEmbedder()
    try:
        # The first turn was the template's: what was acknowledged has not been undone.
        assert (live(services, STORE).turn or 0) > len(acknowledged)
        assert len([state for _, state in states(services) if state == "live"]) == 1
        before = found(services)
        assert [name for name, _ in before] == ["pipes.txt", "ships.txt"]
        assert problems(services, STORE) == []
        run_jobs(services)
        assert {state for _, state in states(services)} <= {"live", "retired"}
        assert (found(services), problems(services, STORE), vectors_are_all_used(services)) == (before, [], True)
    finally:
        services.close()


# --- a full disk


def test_a_full_disk_stops_the_making_and_nothing_else(
    services: Services, store: str, quick_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(services, store)
    begin(services, store, chunking=SMALL)
    full = threading.Event()
    full.set()

    def refuse(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if full.is_set() and statement.startswith("INSERT INTO chunks"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    event.listen(services.database.engine, "before_cursor_execute", refuse)
    run_jobs(services)
    assert states(services) == [(1, "live"), (2, "failed")]
    assert (found(services, store), problems(services, store)) == (before, [])
    full.clear()
    update(services, store, chunking=SMALL)
    assert (states(services), found(services, store)) == ([(1, "retired"), (2, "live")], before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        services = open_services(Settings(home=small / "home"))
        services.embedder = WordEmbedder()
        for number in range(4):
            write(tmp_path / "docs", f"{number}.txt", " ".join(f"f{number}w{word}." for word in range(WORDS)))
        store = filled(services, tmp_path / "docs")
        before = found(services, store)
        ballast = small / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\0" * 65_536)
                file.flush()
        with pytest.raises((OperationalError, OSError)):
            begin(services, store, chunking=SMALL)
            run_jobs(services)
        assert found(services, store) == before
        ballast.unlink()
        update(services, store, chunking=SMALL)
        run_jobs(services)
        assert (live(services, store).chunking["max_tokens"], found(services, store)) == (100, before)
        assert problems(services, store) == []
        services.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


# --- damaged files


def index_files(services: Services, pattern: str) -> list[Path]:
    found = list(services.settings.indexes_dir.glob(f"vs_*/*/index-*/{pattern}"))
    found += [path for folder in found for path in folder.rglob("*")]
    return [path for path in found if path.is_file() and path.stat().st_size and "lock" not in path.name]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize(
    "pattern", ["vectors/*/rows", "vectors/*/log", "text/*.idx", "text/*.term", "text/*.fast", "text/meta.json"]
)
def test_a_damaged_file_of_the_index_is_found_and_mended(
    services: Services, store: str, pattern: str, damage: Callable[[Path], None]
) -> None:
    before = found(services, store)
    for path in index_files(services, pattern):
        damage(path)
    said = problems(services, store)
    # The end of a log that is cut off is as if it had not been written.
    assert said or (damage is truncate and pattern.startswith("vectors"))
    assert problems(services, store) == said, "looking mends nothing"
    assert mended(services, store) == []
    services.searching.drop(store)
    assert found(services, store) == before


@pytest.mark.parametrize("damage", [Path.unlink, truncate])
@pytest.mark.parametrize("pattern", ["vectors/*/rows", "vectors/*/log", "text/*.term"])
def test_a_start_makes_a_lost_or_truncated_index_file_anew(
    services: Services, store: str, pattern: str, damage: Callable[[Path], None]
) -> None:
    before = found(services, store)
    for path in index_files(services, pattern):
        damage(path)
    services.searching.drop(store)
    assert found(services, store) == before


# --- damaged rows


def vector_flipped(services: Services) -> None:
    with services.database.write() as session:
        row = session.scalars(select(VectorRow)).first()
        assert row is not None
        row.vector = bytes([row.vector[0] ^ 1]) + row.vector[1:]


def vector_lost(services: Services) -> None:
    with services.database.write() as session:
        session.execute(delete(VectorRow))


def windows_lost(services: Services) -> None:
    with services.database.write() as session:
        session.execute(delete(WindowRow).where(WindowRow.chunk_id == select(ChunkRow.id).limit(1).scalar_subquery()))


def window_moved(services: Services) -> None:
    with services.database.write() as session:
        session.execute(change(WindowRow).values(end=WindowRow.end - 1))


def chunk_text_changed(services: Services) -> None:
    with services.database.write() as session:
        session.execute(change(ChunkRow).values(text="what nobody wrote"))


def chunk_lost(services: Services) -> None:
    with services.database.write() as session:
        session.execute(delete(ChunkRow).where(ChunkRow.id == select(ChunkRow.id).limit(1).scalar_subquery()))


def document_lost_from_the_index(services: Services) -> None:
    with services.database.write() as session:
        session.execute(delete(IndexedDocumentRow))


def document_text_changed(services: Services) -> None:
    with services.database.write() as session:
        for row in session.scalars(select(DocumentTextRow)):
            row.text = row.text.replace("o", "0")


ROWS = [
    (vector_flipped, "its checksum is wrong"),
    (vector_lost, "is missing"),
    (windows_lost, "has no vector"),
    (window_moved, "is of another text"),
    (chunk_text_changed, "its text is not that of the document at 0-"),
    (chunk_lost, "is in no chunk"),
    (document_lost_from_the_index, "is not in generation 1"),
    (document_text_changed, "its text is damaged"),
]


@pytest.mark.parametrize(("damage", "said"), ROWS, ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_rows_are_found_and_mended(
    services: Services, store: str, damage: Callable[[Services], None], said: str
) -> None:
    before = found(services, store)
    damage(services)
    assert any(said in line for line in problems(services, store)), problems(services, store)
    assert mended(services, store) == []
    assert (found(services, store), vectors_are_all_used(services)) == (before, True)


def test_a_generation_is_not_made_of_damaged_vectors(services: Services, store: str) -> None:
    vector_flipped(services)
    update(services, store, chunking=SMALL)
    assert (live(services, store).id, problems(services, store)) == (2, [])


def test_vectors_that_nothing_uses_are_told_and_removed(services: Services, store: str) -> None:
    with services.database.write() as session:
        session.add(VectorRow(project_id=DEFAULT_PROJECT, key=b"k" * 32, vector=b"", sentences=b"", checksum=0))
    assert problems(services, store) == ["1 vectors are used by nothing"]
    assert mended(services, store) == []


# --- two writers


def test_two_that_make_an_index_at_once_and_one_that_ingests_make_one_generation(
    services: Services, store: str, tmp_path: Path
) -> None:
    """Each with services of its own, as two processes have."""
    begin(services, store, chunking=SMALL)
    errors: list[BaseException] = []

    def work(act: Callable[[Services], None]) -> None:
        own = open_services(services.settings)
        own.embedder = WordEmbedder()
        try:
            act(own)
        except BaseException as exc:
            errors.append(exc)
        finally:
            own.close()

    for number in range(6):
        write(tmp_path / "more", f"{number}.txt", f"copper kettle number{number}")
    acts: list[Callable[[Services], None]] = [
        lambda own: update(own, store, chunking=SMALL),
        lambda own: update(own, store, chunking=SMALL),
        lambda own: ingest(own, store, tmp_path / "more"),
    ]
    threads = [threading.Thread(target=work, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, states(services)) == ([], [(1, "retired"), (2, "live")])
    assert (problems(services, store), len(found(services, store))) == ([], 8)


# --- a clock that jumps

HOUR_S = 3_600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How far the wall clock is off; the test moves it."""
    offset, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    yield offset


@pytest.mark.parametrize("jump_s", [-24 * HOUR_S, 24 * HOUR_S])
def test_a_clock_that_jumps_while_an_index_is_made_makes_no_difference(
    services: Services, store: str, clock: list[float], jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(services, store)
    other = services.new_index_worker()

    class Jumping(WordEmbedder):
        id = "words-2"

        def embed(self, texts: Sequence[str]) -> Vectors:
            clock[0] = jump_s
            other._take_back_lost()
            other._take_back_lost()
            return super().embed(texts)

    services.embedder = Jumping()
    update(services, store, chunking=SMALL)
    assert states(services) == [(1, "retired"), (2, "live")]
    services.embedder = WordEmbedder()
    assert found(services, store) == before


def test_what_was_put_off_is_not_put_off_for_ever_by_a_clock_that_goes_back(
    services: Services, store: str, clock: list[float]
) -> None:
    begin(services, store, chunking=SMALL)
    with services.database.write() as session:
        (job,) = queue.claim(session, "index", "somebody", 1)
        queue.try_again(session, job, "busy", delay_s=4.0)
    clock[0] = -HOUR_S
    with services.database.read() as session:
        assert queue.waiting(session, "index", "anybody")


def test_a_lease_from_before_the_clock_went_back_lapses_in_its_time(
    services: Services, store: str, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "is_dead", lambda owner: False)
    begin(services, store, chunking=SMALL)
    with services.database.write() as session:
        queue.claim(session, "index", "elsewhere:1:1:1", 1)
    clock[0] = -HOUR_S
    other = services.new_index_worker()
    other._take_back_lost()
    clock[0] = -HOUR_S + queue.LEASE_S + 1
    other._take_back_lost()
    with services.database.read() as session:
        assert queue.waiting(session, "index", other.owner)
