"""Whether what is stored of a document hangs together, and whether an index agrees with its source.

Everything is told by what it is derived from: a chunk by its document's text, a vector by its checksum and by the
hash of its text that it is stored under, the index by the chunks.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag.ingest import vector_key
from rag.ports import ChunkSource, IndexRow, SearchIndex, VectorKey, Vectors
from rag.table import columns_at, tables, with_columns
from rag.types import ChunkId

SAMPLE = 200
# Of a unit vector in 32 bits; an index that keeps vectors in fewer bits loses some of the cosine.
LENGTH_TOLERANCE = 1e-3
COSINE_TOLERANCE = 0.05
SAMPLE_CHARS = 400
# A file of the text index ends with a JSON footer, its length and this number, little-endian (tantivy's footer.rs).
FOOTER_MAGIC = 1337


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWindow:
    """A window as stored; `vector` is None where there is none, `intact` whether its checksum is right."""

    start: int
    end: int
    key: VectorKey
    vector: Vectors | None
    intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk:
    chunk_id: ChunkId
    ordinal: int
    text: str
    start: int
    end: int
    windows: tuple[StoredWindow, ...]


def check_chunks(
    text: str, chunks: Sequence[StoredChunk], *, embedder_id: str, dimensions: int, media_type: str = ""
) -> Iterator[tuple[ChunkId | None, str]]:
    """Give what is wrong with a document's chunks, each with its chunk where it is of one."""
    found = tables(text, media_type)
    if (lost := _uncovered(text, 0, len(text), ((chunk.start, chunk.end) for chunk in chunks))) is not None:
        yield None, f"its text at {lost} is in no chunk"
    for chunk in chunks:
        if chunk.text != text[chunk.start : chunk.end]:
            yield chunk.chunk_id, f"its text is not that of the document at {chunk.start}-{chunk.end}"
        if (
            lost := _uncovered(text, chunk.start, chunk.end, ((one.start, one.end) for one in chunk.windows))
        ) is not None:
            yield chunk.chunk_id, f"its text at {lost} has no vector"
        for number, window in enumerate(chunk.windows):
            keys = _keys(embedder_id, text[window.start : window.end], columns_at(found, window.start))
            if wrong := _wrong_with(window, keys, dimensions):
                yield chunk.chunk_id, f"the vector of its window {number} {wrong}"


def text_is_at_fault(text: str, chunks: Sequence[StoredChunk], *, embedder_id: str, media_type: str = "") -> bool:
    """Tell whether it is the document's text that changed: a chunk differs, and the hashes are of the chunk."""
    found = tables(text, media_type)
    return any(
        chunk.text != text[chunk.start : chunk.end]
        and bool(chunk.windows)
        and all(
            window.key in _keys(embedder_id, _within(chunk, window), columns_at(found, window.start))
            for window in chunk.windows
        )
        for chunk in chunks
    )


def check_index(index: SearchIndex, source: ChunkSource, *, sample: int = SAMPLE) -> Iterator[str]:
    """Give what an index, after a sync, has otherwise than its source; of the content so many chunks are looked at."""
    yield from index.check()
    ids = source.chunk_ids()
    chosen = ids if len(ids) <= sample else np.sort(np.random.default_rng().choice(ids, sample, replace=False))
    for row in source.rows(chosen):
        only = np.array([row.chunk_id], dtype=np.int64)
        if not _has_vectors(index, row):
            yield f"chunk {row.chunk_id}: the vector index has other vectors than the database"
        words = row.text[:SAMPLE_CHARS]
        found = index.search_text(words, 1, only)
        # A text of stop words and signs alone has no terms: its ceiling is 0.
        if found.ceiling > 0 and row.chunk_id not in found.scores:
            yield f"chunk {row.chunk_id}: the text index does not find it by its own words"


def damaged_text_files(folder: Path) -> Iterator[Path]:
    """Give the files of text indexes below a folder whose bytes are not those that were written."""
    for path in sorted(folder.glob("*/text/*.*")):
        if path.suffix not in {".json", ".lock"} and not path.name.startswith(".") and not _is_whole(path):
            yield path


def _uncovered(text: str, start: int, end: int, spans: Iterable[tuple[int, int]]) -> int | None:
    """Give where the first text of a span is that none of the others holds, blanks aside; None where there is none."""
    place = start
    for begun, ended in sorted(spans):
        if text[place:begun].strip():
            return place
        place = max(place, ended)
    return place if text[place:end].strip() else None


def _keys(embedder_id: str, text: str, columns: str) -> set[VectorKey]:
    """Give the keys that a window may have: those of its text, alone or under the names of its columns."""
    return {vector_key(embedder_id, text), vector_key(embedder_id, with_columns(columns, text))}


def _wrong_with(window: StoredWindow, keys: set[VectorKey], dimensions: int) -> str:
    if window.key not in keys:
        return "is of another text or of another embedder"
    if window.vector is None:
        return "is missing"
    if not window.intact:
        return "is damaged: its checksum is wrong"
    if len(window.vector) != dimensions:
        return f"is damaged: it has {len(window.vector)} numbers, not {dimensions}"
    # Not `> tolerance`: what is no number is not near to 1 either.
    if not abs(float(np.linalg.norm(window.vector)) - 1) <= LENGTH_TOLERANCE:
        return "is damaged: it is not of length 1"
    return ""


def _within(chunk: StoredChunk, window: StoredWindow) -> str:
    return chunk.text[window.start - chunk.start : window.end - chunk.start]


def _has_vectors(index: SearchIndex, row: IndexRow) -> bool:
    only = np.array([row.chunk_id], dtype=np.int64)
    found = (index.search_vectors(vector, 1, only).get(row.chunk_id, 0.0) for vector in row.vectors)
    return all(cosine >= 1 - COSINE_TOLERANCE for cosine in found)


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    length, magic = int.from_bytes(content[-8:-4], "little"), int.from_bytes(content[-4:], "little")
    if magic != FOOTER_MAGIC or length > len(content) - 8:
        return False
    body = len(content) - 8 - length
    try:
        footer = json.loads(content[body:-8])
        return bool(footer["crc"] == zlib.crc32(content[:body]))
    except (ValueError, KeyError, TypeError):
        return False
