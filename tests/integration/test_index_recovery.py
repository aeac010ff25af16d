"""Whatever happens to an index's files, the next sync makes them whole from the source."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rag.index import StoreIndex
from tests.fakes.chunk_source import MemorySource

DIMENSIONS = 8
CHUNKS = 512


def filled(chunks: int = CHUNKS) -> MemorySource:
    source = MemorySource()
    for chunk_id in range(1, chunks + 1):
        source.add(chunk_id, f"word{chunk_id} common", vector(chunk_id))
    return source


def vector(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return values / np.linalg.norm(values)


def opened(folder: Path) -> StoreIndex:
    return StoreIndex(folder, embedder_id="random", dimensions=DIMENSIONS)


def assert_finds_everything(index: StoreIndex, source: MemorySource) -> None:
    live = set(source.chunk_ids().tolist())
    assert set(index.search_text("common", CHUNKS * 2).scores) == live
    assert set(index.search_vectors(vector(1), CHUNKS * 2)) == live


@pytest.fixture
def source() -> MemorySource:
    return filled()


@pytest.fixture
def folder(tmp_path: Path, source: MemorySource) -> Path:
    opened(tmp_path).sync(source)
    return tmp_path


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


@pytest.mark.parametrize("damage", [Path.unlink, truncate, scramble], ids=["missing", "truncated", "scrambled"])
@pytest.mark.parametrize(
    "pattern", ["vectors/*/rows", "vectors/*/log", "text/meta.json", "text/*.idx", "text/*.term", "text/*.pos"]
)
def test_damaged_files_are_made_again(
    folder: Path, source: MemorySource, pattern: str, damage: Callable[[Path], None]
) -> None:
    damage(next(folder.glob(f"*/{pattern}")))
    index = opened(folder)
    index.sync(source)
    assert_finds_everything(index, source)


def test_damage_is_logged(folder: Path, source: MemorySource, caplog: pytest.LogCaptureFixture) -> None:
    truncate(next(folder.glob("*/vectors/*/rows")))
    truncate(next(folder.glob("*/text/meta.json")))
    with caplog.at_level(logging.WARNING, logger="rag"):
        opened(folder).sync(source)
    assert [record.message.split()[0] for record in caplog.records] == [
        "vector_log_damaged",
        "text_index_rebuilt",
    ]


def test_a_folder_deleted_under_a_running_process_is_made_again(folder: Path, source: MemorySource) -> None:
    index = opened(folder)
    index.sync(source)
    shutil.rmtree(folder)
    source.add(9999, "common zebra", vector(9999))
    index.sync(source)
    assert_finds_everything(index, source)


def test_a_start_reads_only_what_is_new(folder: Path, source: MemorySource) -> None:
    source.add(9999, "common zebra", vector(9999))
    source.remove(1)
    source.rows_read = 0
    index = opened(folder)
    index.sync(source)
    assert source.rows_read == 2  # once for each of the two indexes
    assert_finds_everything(index, source)


def test_two_processes_share_both_indexes(folder: Path, source: MemorySource) -> None:
    first, second = opened(folder), opened(folder)
    first.sync(source)
    second.sync(source)
    source.add(9999, "common zebra", vector(9999))
    first.sync(source)
    source.rows_read = 0
    second.sync(source)
    assert source.rows_read == 0
    assert_finds_everything(second, source)


def test_on_a_full_disk_it_finds_what_it_had_and_the_rest_once_there_is_room(
    folder: Path, source: MemorySource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(folder)
    index.sync(source)
    source.add(9999, "common zebra", vector(9999))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("rag.vectors.log.VectorLog.add", full)
        patched.setattr("rag.lexical.TextIndex.update", full)
        patched.setattr("rag.index.ROOM_BYTES", 2**62)
        index.sync(source)
        assert 9999 not in index.search_vectors(vector(9999), CHUNKS * 2)
        assert list(index.search_text("word3", 1).scores) == [3]
    assert caplog.records[0].message.startswith("vector_log_not_written")
    index.sync(source)
    assert_finds_everything(index, source)


WRITER = """
import sys
from pathlib import Path
from tests.integration.test_index_recovery import filled, opened
print("begun", flush=True)
opened(Path(sys.argv[1])).sync(filled())
"""


def writer_process(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_writer_killed_at_any_moment_leaves_nothing_to_mend_by_hand(
    tmp_path: Path, source: MemorySource, delay_s: float
) -> None:
    with writer_process(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    index = opened(tmp_path)
    index.sync(source)
    assert_finds_everything(index, source)


def test_four_processes_building_at_once_agree(tmp_path: Path, source: MemorySource) -> None:
    processes = [writer_process(tmp_path) for _ in range(4)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    index = opened(tmp_path)
    index.sync(source)
    assert source.rows_read == 0
    assert_finds_everything(index, source)


@pytest.fixture
def failures() -> Iterator[list[BaseException]]:
    found: list[BaseException] = []
    yield found
    assert found == []


def test_threads_may_search_while_another_syncs(
    tmp_path: Path, source: MemorySource, failures: list[BaseException]
) -> None:
    index = opened(tmp_path)
    index.sync(source)
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                assert index.search_vectors(vector(3), 1) == {3: pytest.approx(1.0)}
                assert list(index.search_text("word3", 1).scores) == [3]
        except BaseException as exc:
            failures.append(exc)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for chunk_id in range(10_000, 10_030):
        source.add(chunk_id, "common latecomer", vector(chunk_id))
        source.remove(chunk_id - 9_990)
        index.sync(source)
    done.set()
    for reader in readers:
        reader.join()
    assert_finds_everything(index, source)
