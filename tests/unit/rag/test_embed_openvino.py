from pathlib import Path

import numpy as np
import pytest

from rag.embed_openvino import BATCH_TOKENS, Manifest, batches_by_length

MANIFEST = Manifest(
    precision="f32",
    dimensions=2,
    max_tokens=14,
    special_tokens=2,
    tail_tokens=1,
    pad_id=0,
    inputs=["input_ids"],
    probe="a",
    probe_vector=[0.6, 0.8],
    sizes={"graph.bin": 3},
)


def test_manifest_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "graph.bin").write_bytes(b"abc")
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST


def test_manifest_of_a_truncated_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.bin").write_bytes(b"ab")
    MANIFEST.write(tmp_path)
    with pytest.raises(ValueError, match=r"graph\.bin has not the 3 bytes"):
        Manifest.read(tmp_path)


def test_every_row_is_in_one_batch() -> None:
    lengths = [5, 0, 254, 31, 7, 7, 254, 1] * 9
    batches = batches_by_length([np.zeros(length, dtype=np.int32) for length in lengths])
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


def test_no_batch_is_larger_than_the_budget() -> None:
    ids = [np.zeros(length, dtype=np.int32) for length in [30] * 100 + [250] * 7]
    batches = batches_by_length(ids)
    assert max(len(batch) * max(len(ids[row]) for row in batch) for batch in batches) <= BATCH_TOKENS


def test_text_longer_than_the_budget_has_a_batch_of_its_own() -> None:
    ids = [np.zeros(length, dtype=np.int32) for length in (3, BATCH_TOKENS + 1, 4)]
    assert batches_by_length(ids) == [[1], [2, 0]]
