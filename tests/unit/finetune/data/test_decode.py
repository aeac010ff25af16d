"""A record is read strictly: what a lenient reader would change is refused."""

import pytest

from finetune.data.decode import Undecodable, decode


def test_an_object_is_given() -> None:
    assert decode('{"a": "é 🙂 \\ud83d\\ude42"}'.encode()) == {"a": "é 🙂 🙂"}


@pytest.mark.parametrize(
    ("raw", "code", "reason"),
    [
        (b'{"a": 1', "json", "is not valid JSON: Expecting ',' delimiter, column 8"),
        (b'{"a":\n [}', "json", "is not valid JSON: Expecting value, column 3 of its line 2"),
        (b'{"a": NaN}', "json", "holds NaN, which JSON does not know"),
        (b'{"a": "\xff"}', "encoding", "its byte 8 is not UTF-8"),
        (b'{"a": "\x00"}', "nul", "holds NUL characters"),
        (b'{"a": "\\ud83d"}', "surrogate", "holds half of a surrogate pair, which is no character"),
        (b'{"a": 1, "a": 2}', "duplicate_key", "has the key 'a' more than once"),
        (b"[" * 100_000, "nesting", "is nested too deeply to be read"),
        (b"null", "not_object", "is null, not an object"),
        (b"3", "not_object", "is a number, not an object"),
    ],
)
def test_what_is_no_object_is_refused_with_its_reason(raw: bytes, code: str, reason: str) -> None:
    with pytest.raises(Undecodable) as refused:
        decode(raw)
    assert (refused.value.finding.code, refused.value.finding.reason) == (code, reason)


def test_a_number_too_long_to_read_is_refused() -> None:
    with pytest.raises(Undecodable, match="number that cannot be read"):
        decode(b'{"a": ' + b"9" * 5000 + b"}")
