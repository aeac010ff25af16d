from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.index import StoreIndex
from rag.ingest import vector_key
from rag.types import ChunkId
from rag.verify import (
    StoredChunk,
    StoredWindow,
    check_chunks,
    check_index,
    damaged_text_files,
    text_is_at_fault,
)
from tests.fakes.chunk_source import MemorySource

TEXT = "clay holds water \n\n sand drains"
UNIT = np.array([0.6, 0.8], dtype=np.float32)


def window(start: int, end: int) -> StoredWindow:
    return StoredWindow(start=start, end=end, key=vector_key("e", TEXT[start:end]), vector=UNIT, intact=True)


def stored(number: int, start: int, end: int) -> StoredChunk:
    text = TEXT[start:end]
    return StoredChunk(
        chunk_id=ChunkId(number), ordinal=number, text=text, start=start, end=end, windows=(window(start, end),)
    )


CHUNKS = [stored(0, 0, 16), stored(1, 20, 31)]


def wrong(chunks: list[StoredChunk], text: str = TEXT) -> list[str]:
    return [says for _, says in check_chunks(text, chunks, embedder_id="e", dimensions=2)]


def second(**changes: object) -> list[StoredChunk]:
    """The chunks with the second one's window changed."""
    return [CHUNKS[0], replace(CHUNKS[1], windows=(replace(CHUNKS[1].windows[0], **changes),))]


def test_what_is_whole_is_not_complained_of() -> None:
    assert wrong(CHUNKS) == []
    assert wrong([], " \n ") == []


def test_text_that_is_in_no_chunk_is_found() -> None:
    assert wrong(CHUNKS[:1]) == ["its text at 16 is in no chunk"]
    assert wrong(CHUNKS[1:]) == ["its text at 0 is in no chunk"]


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        (second(vector=None), "is missing"),
        (second(intact=False), "its checksum is wrong"),
        (second(vector=np.ones(3, dtype=np.float32)), "it has 3 numbers, not 2"),
        (second(vector=np.array([0.6, 0.9], dtype=np.float32)), "not of length 1"),
        (second(vector=np.array([np.nan, 0.0], dtype=np.float32)), "not of length 1"),
        (second(key=b"other"), "of another text or of another embedder"),
        (second(start=25), "its text at 20 has no vector"),
        ([CHUNKS[0], replace(CHUNKS[1], text="sand stays")], "not that of the document at 20-31"),
        ([CHUNKS[0], replace(CHUNKS[1], windows=())], "its text at 20 has no vector"),
    ],
)
def test_damage_is_named(chunks: list[StoredChunk], said: str) -> None:
    assert said in wrong(chunks)[0]


def test_the_text_is_at_fault_where_hashes_speak_for_the_chunk() -> None:
    assert text_is_at_fault(TEXT.replace("clay", "clad"), CHUNKS, embedder_id="e")
    assert not text_is_at_fault(TEXT, [replace(CHUNKS[0], text="clad holds water"), CHUNKS[1]], embedder_id="e")


def test_rows_may_be_embedded_under_their_columns_or_as_earlier_versions_did_alone() -> None:
    text = "city,sum\nBonn,7\nRome,8"
    chunks = [
        StoredChunk(
            chunk_id=ChunkId(0),
            ordinal=0,
            text=text,
            start=0,
            end=22,
            windows=(
                StoredWindow(start=0, end=15, key=vector_key("e", text[:15]), vector=UNIT, intact=True),
                StoredWindow(start=16, end=22, key=vector_key("e", embedded), vector=UNIT, intact=True),
            ),
        )
        for embedded in ("Rome,8", "city | sum\nRome,8", "city | sums\nRome,8")
    ]
    wrong = [list(check_chunks(text, [one], embedder_id="e", dimensions=2, media_type="text/csv")) for one in chunks]
    assert [len(says) for says in wrong] == [0, 0, 1]
    damaged = text.replace("Bonn", "Born")
    assert text_is_at_fault(damaged, [chunks[1]], embedder_id="e", media_type="text/csv")


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    for number in range(1, 9):
        angle = number * 0.7
        source.add(number, f"word{number} soil", np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))
    return source


def synced(folder: Path, source: MemorySource) -> StoreIndex:
    index = StoreIndex(folder, embedder_id="e", dimensions=2)
    index.sync(source)
    return index


def test_an_index_that_agrees_is_not_complained_of(tmp_path: Path, source: MemorySource) -> None:
    source.add(99, "the of and", UNIT)
    assert list(check_index(synced(tmp_path, source), source)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda source: source.add(3, "word3 soil", np.array([1.0, 0.0], dtype=np.float32)), "other vectors"),
        (lambda source: source.add(3, "gravel", np.array([np.cos(2.1), np.sin(2.1)], dtype=np.float32)), "own words"),
    ],
)
def test_other_content_under_the_same_id_is_found(
    tmp_path: Path, source: MemorySource, change: Callable[[MemorySource], None], said: str
) -> None:
    index = synced(tmp_path, source)
    change(source)
    assert [line.split(":")[0] for line in check_index(index, source) if said in line] == ["chunk 3"]


@pytest.mark.parametrize("place", [0, 40, -1, -6])
def test_a_flipped_byte_in_a_file_of_the_text_index_is_found(tmp_path: Path, source: MemorySource, place: int) -> None:
    synced(tmp_path, source)
    assert list(damaged_text_files(tmp_path)) == []
    path = next(tmp_path.glob("*/text/*.term"))
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)
    assert list(damaged_text_files(tmp_path)) == [path]
