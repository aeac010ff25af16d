"""One record's bytes as a JSON object, read strictly: what a lenient reader would change is refused."""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from finetune.data.problems import Finding

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NAMED_KEYS = 5


class Undecodable(Exception):
    """A record is not a JSON object."""

    def __init__(self, code: str, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.finding = Finding(code, field, reason)


def decode(raw: bytes) -> dict[str, Any]:
    """Give the object that the bytes spell. Raises Undecodable."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise Undecodable("encoding", f"its byte {exc.start + 1} is not UTF-8") from exc
    if "\0" in text:
        raise Undecodable("nul", "holds NUL characters")
    value = _parsed(text)
    if not isinstance(value, dict):
        raise Undecodable("not_object", f"is {described(value)}, not an object")
    if _SURROGATE_ESCAPE.search(raw):
        _check_surrogates(value)
    return value


def described(value: object) -> str:
    """Give the JSON type of a value with its article."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def keys_of(value: dict[str, Any]) -> str:
    """Name the first keys of an object, each cut to a length that fits a sentence."""
    names = [repr(key[:40]) for key in list(value)[:_NAMED_KEYS]]
    return ", ".join(names) + (", …" if len(value) > _NAMED_KEYS else "") if names else "none"


def _parsed(text: str) -> object:
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as exc:
        where = f"column {exc.colno}" if exc.lineno == 1 else f"column {exc.colno} of its line {exc.lineno}"
        raise Undecodable("json", f"is not valid JSON: {exc.msg.removesuffix(' at')}, {where}") from exc
    except RecursionError as exc:
        raise Undecodable("nesting", "is nested too deeply to be read") from exc
    except ValueError as exc:
        raise Undecodable("json", f"holds a number that cannot be read: {exc}") from exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Undecodable("duplicate_key", f"has the key {twice[:40]!r} more than once")
    return value


def _no_constant(name: str) -> NoReturn:
    raise Undecodable("json", f"holds {name}, which JSON does not know")


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise Undecodable("surrogate", "holds half of a surrogate pair, which is no character") from exc


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
