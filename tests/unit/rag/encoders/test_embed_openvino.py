from pathlib import Path

import pytest

from rag.encoders.embed_openvino import Manifest

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
