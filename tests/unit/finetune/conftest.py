import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.data.formats.row import Row
from finetune.data.formats.table import told_by
from finetune.types import Example


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write records as JSONL, or bytes as they are."""

    def written(*records: object, raw: bytes | None = None, name: str = "train.jsonl") -> Path:
        path = tmp_path / name
        lines = "".join(json.dumps(record) + "\n" for record in records)
        path.write_bytes(lines.encode() if raw is None else raw)
        return path

    return written


@pytest.fixture
def read_row() -> Callable[[dict[str, Any]], tuple[Example, list[tuple[str, str]]]]:
    """Read one record; give the example and the (code, field) of each finding."""

    def row_read(value: dict[str, Any]) -> tuple[Example, list[tuple[str, str]]]:
        told = told_by(frozenset(value))
        assert told is not None
        row = Row(value)
        example = told.read(row)
        return example, [(finding.code, finding.field) for finding in row.findings]

    return row_read
