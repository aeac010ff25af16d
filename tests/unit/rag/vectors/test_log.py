import os
from pathlib import Path

import numpy as np
import pytest

from rag.types import ChunkId
from rag.vectors import VectorIndex
from rag.vectors.log import HEADER, LogDamaged, VectorLog, newest_epoch

DIMENSIONS = 4


def vector(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(1, DIMENSIONS)).astype(np.float32)
    return values / np.linalg.norm(values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of the chunks 1 to 5, each added by itself."""
    index = VectorIndex(tmp_path, DIMENSIONS)
    for chunk_id in range(1, 6):
        index.add([ChunkId(chunk_id)], [vector(chunk_id)])
    return tmp_path


def file(folder: Path, name: str) -> Path:
    epoch = newest_epoch(folder)
    assert epoch is not None
    return epoch / name


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("missing", [1, 8, 20, 35])
def test_a_record_that_was_cut_short_is_as_if_it_were_not_there(folder: Path, missing: int) -> None:
    path = file(folder, "log")
    os.truncate(path, path.stat().st_size - missing)
    index = VectorIndex(folder, DIMENSIONS)
    assert index.ids.tolist() == [1, 2, 3, 4]
    index.add([ChunkId(6)], [vector(6)])
    reopened = VectorIndex(folder, DIMENSIONS)
    assert reopened.ids.tolist() == [1, 2, 3, 4, 6]
    assert reopened.search(vector(6)[0], 1) == {6: pytest.approx(1.0)}


@pytest.mark.parametrize("place", [0, 4, 13, 17, 21, 26, 30])
def test_a_flipped_bit_in_the_log_loses_only_what_follows(folder: Path, place: int) -> None:
    size = HEADER.size + 8
    flip(file(folder, "log"), 3 * size + place)
    assert VectorIndex(folder, DIMENSIONS).ids.tolist() == [1, 2, 3]
    assert VectorIndex(folder, DIMENSIONS).ids.tolist() == [1, 2, 3]


def test_a_flipped_bit_in_the_rows_loses_only_what_follows(folder: Path) -> None:
    flip(file(folder, "rows"), -3)
    index = VectorIndex(folder, DIMENSIONS)
    assert index.ids.tolist() == [1, 2, 3, 4]
    assert index.search(vector(4)[0], 1) == {4: pytest.approx(1.0)}


def test_truncated_rows_lose_only_what_is_not_there(folder: Path) -> None:
    os.truncate(file(folder, "rows"), 3 * 4 * DIMENSIONS - 1)
    assert VectorIndex(folder, DIMENSIONS).ids.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["log", "rows"])
def test_a_missing_file_is_begun_again(folder: Path, name: str) -> None:
    file(folder, name).unlink()
    index = VectorIndex(folder, DIMENSIONS)
    assert index.ids.tolist() == []
    index.add([ChunkId(1)], [vector(1)])
    assert VectorIndex(folder, DIMENSIONS).ids.tolist() == [1]


def test_an_open_index_is_unharmed_by_what_happens_to_its_files(folder: Path) -> None:
    index = VectorIndex(folder, DIMENSIONS)
    os.truncate(file(folder, "rows"), 0)
    assert index.search(vector(3)[0], 1) == {3: pytest.approx(1.0)}


def test_checking_finds_a_flipped_bit(folder: Path) -> None:
    index = VectorIndex(folder, DIMENSIONS)
    index.check()
    flip(file(folder, "rows"), 0)
    with pytest.raises(LogDamaged, match="damaged"):
        index.check()


def test_an_add_writes_what_it_adds_and_no_more(folder: Path) -> None:
    sizes = {name: file(folder, name).stat().st_size for name in ("log", "rows")}
    contents = {name: file(folder, name).read_bytes() for name in sizes}
    VectorIndex(folder, DIMENSIONS).add([ChunkId(6)], [vector(6)])
    grown = {name: file(folder, name).read_bytes() for name in sizes}
    assert {name: grown[name][: sizes[name]] for name in sizes} == contents
    assert {name: len(grown[name]) - sizes[name] for name in sizes} == {"log": HEADER.size + 8, "rows": 4 * DIMENSIONS}


def test_a_full_disk_adds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = VectorIndex(folder, DIMENSIONS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VectorLog, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        index.add([ChunkId(6)], [vector(6)])
    monkeypatch.undo()
    assert index.ids.tolist() == [1, 2, 3, 4, 5]
    index.add([ChunkId(7)], [vector(7)])
    assert VectorIndex(folder, DIMENSIONS).search(vector(7)[0], 1) == {7: pytest.approx(1.0)}
