"""Where records begin and end, whatever the bytes are."""

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import records as module
from finetune.data.problems import Place
from finetune.data.records import Record, records


def cut(raw: bytes) -> list[Record | tuple[str, Place]]:
    found = records(io.BufferedReader(io.BytesIO(raw)))  # type: ignore[arg-type]
    return [one if isinstance(one, Record) else (one[0].code, one[1]) for one in found]


def test_lines_are_records_and_blank_ones_are_skipped() -> None:
    assert cut(b'{"a":1}\n\n  {"b":2}\n') == [
        Record(Place(1), 0, b'{"a":1}'),
        Record(Place(3), 11, b'{"b":2}'),
    ]


def test_windows_line_ends_are_accepted() -> None:
    assert cut(b"{}\r\n{}\r\n") == [Record(Place(1), 0, b"{}"), Record(Place(2), 4, b"{}")]


def test_byte_order_mark_is_skipped_with_a_warning_and_offsets_count_it() -> None:
    assert cut(b"\xef\xbb\xbf{}\n") == [("byte_order_mark", Place(1)), Record(Place(1), 3, b"{}")]


def test_array_items_have_their_index_and_the_line_where_they_begin() -> None:
    assert cut(b'[\n  {"a": 1},\n  {\n "b": 2}\n]\n') == [
        Record(Place(2, 0), 4, b'{"a": 1}'),
        Record(Place(3, 1), 16, b'{\n "b": 2}'),
    ]


def test_brackets_commas_and_quotes_inside_strings_do_not_cut() -> None:
    assert cut(rb'[{"a": "],}\"[,\\"},{}]') == [
        Record(Place(1, 0), 1, rb'{"a": "],}\"[,\\"}'),
        Record(Place(1, 1), 20, b"{}"),
    ]


@pytest.mark.parametrize("chunk_bytes", range(1, 20))
def test_escapes_across_a_chunk_do_not_cut(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    item = rb'{"a": "\\\\\"],", "\\": "\""}'
    assert cut(b"[" + item + b",{}]") == [Record(Place(1, 0), 1, item), Record(Place(1, 1), 2 + len(item), b"{}")]


@given(st.lists(st.dictionaries(st.text(), st.text() | st.lists(st.text())), min_size=1), st.integers(1, 7))
def test_array_is_cut_alike_however_it_arrives(items: list[dict[str, object]], chunk_bytes: int) -> None:
    raw = json.dumps(items, indent=1).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_BYTES", chunk_bytes)
        found = [one for one in cut(raw) if isinstance(one, Record)]
    assert [json.loads(one.raw) for one in found] == items
    assert [raw[one.offset : one.offset + len(one.raw)] for one in found] == [one.raw for one in found]
    assert [raw[: one.offset].count(b"\n") + 1 for one in found] == [one.place.line for one in found]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[{},\n{}", [("unread", Place(0))]),
        (b"[{}]\n{}", [("unread", Place(2, 1))]),
        (b"[{},,{}]", [("json", Place(1, 1))]),
        (b"[{},]", [("json", Place(1, 1))]),
        (b"[]", []),
    ],
)
def test_what_is_wrong_with_an_array_is_said(raw: bytes, expected: list[tuple[str, Place]]) -> None:
    assert [one for one in cut(raw) if not isinstance(one, Record)] == expected


@pytest.mark.parametrize(
    ("raw", "code", "word"),
    [
        (gzip.compress(b"{}", mtime=0), "compressed", "gzip"),
        (b"PK\x03\x04", "compressed", "zip"),
        ('{"a":1}'.encode("utf-16"), "encoding", "UTF-16"),
        ('{"a":1}'.encode("utf-16-le"), "encoding", "UTF-16"),
        ('{"a":1}'.encode("utf-32"), "encoding", "UTF-32"),
    ],
)
def test_other_encodings_and_compressed_files_are_named(raw: bytes, code: str, word: str) -> None:
    (found,) = records(io.BufferedReader(io.BytesIO(raw)))  # type: ignore[arg-type]
    assert isinstance(found, tuple)
    assert (found[0].code, word in found[0].reason) == (code, True)


def test_a_line_without_end_is_refused_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORD_BYTES", 8)
    assert cut(b'{"a": "0123456789"}\n{}\n') == [("row_too_large", Place(1)), Record(Place(2), 20, b"{}")]


def test_an_item_without_end_is_refused_and_the_rest_is_said_to_be_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORD_BYTES", 8)
    assert cut(b'[{}, {"a": "0123456789"') == [
        Record(Place(1, 0), 1, b"{}"),
        ("row_too_large", Place(1, 1)),
        ("unread", Place(0)),
    ]
