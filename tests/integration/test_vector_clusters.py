"""A vector index of more rows than are searched one by one: lists are made beside it, and it finds what it found."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.types import ChunkId
from rag.vectors import VectorIndex
from rag.vectors.build import EXACT_ROWS, build
from rag.vectors.clusters import MANIFEST, Manifest
from rag.vectors.log import newest_epoch

DIMENSIONS = 16
ROWS = EXACT_ROWS + 4000
QUERIES = 100


def clustered(rows: int, seed: int) -> Vectors:
    """Give unit vectors around two hundred centres, which are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(200, DIMENSIONS))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(200, size=rows)] + 0.5 * random.normal(size=(rows, DIMENSIONS))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def add(index: VectorIndex, first: int, vectors: Vectors) -> None:
    for start in range(0, len(vectors), 1024):
        some = vectors[start : start + 1024]
        index.add([ChunkId(first + start + place) for place in range(len(some))], [row[None] for row in some])


def epoch(folder: Path) -> Path:
    newest = newest_epoch(folder)
    assert newest is not None
    return newest


def manifest(folder: Path) -> Manifest:
    read = Manifest.read(epoch(folder))
    assert read is not None
    return read


def recall(index: VectorIndex, within: NDArray[np.int64] | None = None) -> float:
    """Give the share of the exact ten nearest, of those within, that are among the ten that are found."""
    ids = index.ids if within is None else np.intersect1d(index.ids, within)
    vectors = np.concatenate([windows for _, windows in index.vectors(ids)])
    found = 0
    for query in clustered(QUERIES, seed=9):
        nearest = ids[np.argsort(-(vectors @ query))[:10]]
        found += len(set(nearest.tolist()) & set(index.search(query, 10, within)))
    return found / (10 * QUERIES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    add(VectorIndex(folder, DIMENSIONS), 0, clustered(ROWS, seed=1))
    build(folder, DIMENSIONS)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """An index whose lists have been made, of the chunks 0 to ROWS, one row each."""
    return Path(shutil.copytree(built, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def index(folder: Path) -> VectorIndex:
    return VectorIndex(folder, DIMENSIONS)


def test_the_lists_are_measured_and_keep_to_what_was_measured(folder: Path, index: VectorIndex) -> None:
    assert manifest(folder).recall >= 0.98
    assert recall(index) >= 0.98


def test_scores_are_exact_cosines(index: VectorIndex) -> None:
    query = clustered(1, seed=5)[0]
    stored = dict(index.vectors(index.ids))
    for chunk_id, cosine in index.search(query, 10).items():
        assert cosine == pytest.approx(float((stored[chunk_id] @ query)[0]), abs=1e-6)


@pytest.mark.parametrize("share", [0.95, 0.5, 0.01, 0.001])
def test_what_a_filter_keeps_is_found(index: VectorIndex, share: float) -> None:
    within = np.sort(np.random.default_rng(3).choice(ROWS, round(share * ROWS), replace=False))
    assert recall(index, within) >= 0.98
    assert set(index.search(clustered(1, seed=5)[0], 50, within)) <= set(within.tolist())


def test_what_has_gone_is_not_found_and_what_has_come_is(index: VectorIndex) -> None:
    query = clustered(1, seed=5)[0]
    gone = np.array(sorted(index.search(query, 20)))
    index.remove(gone)
    index.add([ChunkId(ROWS)], [query[None]])
    found = index.search(query, 20)
    assert next(iter(found)) == ROWS
    assert set(found).isdisjoint(gone.tolist())
    assert recall(index) >= 0.98


def test_an_open_index_goes_over_to_the_lists(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, DIMENSIONS)
    add(index, 0, clustered(ROWS, seed=1))
    assert recall(index) == 1.0
    assert not index.stale()
    build(tmp_path, DIMENSIONS)
    assert index.stale()
    index.refresh()
    assert not index.stale()
    assert 0.98 <= recall(index) < 1.0


def test_an_open_index_keeps_the_lists_that_it_has_when_they_are_replaced(folder: Path, index: VectorIndex) -> None:
    add(VectorIndex(folder, DIMENSIONS), ROWS, clustered(ROWS, seed=2))
    before = index.search(clustered(1, seed=5)[0], 10)
    build(folder, DIMENSIONS)
    assert index.stale()
    assert index.search(clustered(1, seed=5)[0], 10) == before


def test_rows_that_come_later_get_lists_by_the_same_centres(folder: Path, index: VectorIndex) -> None:
    add(index, ROWS, clustered(EXACT_ROWS + 1, seed=2))
    build(folder, DIMENSIONS)
    assert [(part.start, part.end) for part in manifest(folder).parts] == [(0, ROWS), (ROWS, ROWS + EXACT_ROWS + 1)]
    index.refresh()
    assert recall(index) >= 0.98


def test_doubled_rows_get_new_centres(folder: Path, index: VectorIndex) -> None:
    add(index, ROWS, clustered(ROWS, seed=2))
    build(folder, DIMENSIONS)
    assert [(part.start, part.end) for part in manifest(folder).parts] == [(0, 2 * ROWS)]
    assert [path.name for path in epoch(folder).glob("lists-*")] == [manifest(folder).parts[0].file]


def test_rows_unlike_those_that_the_centres_were_made_for_get_new_ones(folder: Path, index: VectorIndex) -> None:
    random = np.random.default_rng(8).normal(size=(EXACT_ROWS + 1, DIMENSIONS))
    narrow = 0.15 * random + clustered(1, seed=4)
    add(index, ROWS, (narrow / np.linalg.norm(narrow, axis=1, keepdims=True)).astype(np.float32))
    build(folder, DIMENSIONS)
    assert manifest(folder).recall >= 0.98
    assert len(manifest(folder).parts) == 1


def test_where_too_many_have_gone_the_rest_is_copied(folder: Path, index: VectorIndex) -> None:
    before = epoch(folder)
    index.remove(np.arange(EXACT_ROWS + 1))
    build(folder, DIMENSIONS)
    assert epoch(folder).name > before.name
    assert not before.exists()
    assert (epoch(folder) / "rows").stat().st_size == (ROWS - EXACT_ROWS - 1) * 4 * DIMENSIONS
    index.refresh()
    assert index.ids.tolist() == list(range(EXACT_ROWS + 1, ROWS))
    assert recall(index) == 1.0


@pytest.mark.parametrize("name", [MANIFEST, "lists-*"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_lists_are_left_out_and_made_again(folder: Path, name: str, damage: str) -> None:
    path = next(epoch(folder).glob(name))
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    assert recall(VectorIndex(folder, DIMENSIONS)) == 1.0
    build(folder, DIMENSIONS)
    assert manifest(folder).parts[0].end == ROWS


@pytest.fixture
def builder(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    add(VectorIndex(tmp_path, DIMENSIONS), 0, clustered(ROWS, seed=1))
    command = [sys.executable, "-m", "rag.vectors", str(tmp_path), str(DIMENSIONS)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_builder_ends_with_who_started_it(builder: "subprocess.Popen[bytes]") -> None:
    assert builder.stdin is not None
    builder.stdin.close()
    assert builder.wait(60) == 1


def test_a_builder_that_is_killed_leaves_an_index_that_finds_everything(
    tmp_path: Path, builder: "subprocess.Popen[bytes]"
) -> None:
    while builder.poll() is None and not list(epoch(tmp_path).glob("lists-*")):
        time.sleep(0.01)
    builder.kill()
    builder.wait()
    assert recall(VectorIndex(tmp_path, DIMENSIONS)) >= 0.98
    build(tmp_path, DIMENSIONS)
    assert recall(VectorIndex(tmp_path, DIMENSIONS)) >= 0.98


def test_an_index_has_its_lists_made_beside_it(tmp_path: Path) -> None:
    index = VectorIndex(tmp_path, DIMENSIONS)
    add(index, 0, clustered(ROWS, seed=1))
    index.maintain()
    assert index.finish_maintaining(60)
    index.refresh()
    assert recall(index) >= 0.98
    assert manifest(tmp_path).parts[0].end == ROWS
