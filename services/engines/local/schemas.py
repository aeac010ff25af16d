"""JSON schemas that an answer is to follow: read from `response_format`, and refused where they ask too much."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.errors import BadRequest

MOST_CHARACTERS: Final = 200_000
MOST_DEPTH: Final = 100
"""So deep may a schema's JSON be, an object in an object taking two levels of it."""

ANY_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}

_DATA: Final = ("const", "default", "enum", "example", "examples")
"""Keywords under which there are values, not schemas."""


def read_format(given: Any) -> Mapping[str, Any] | None:
    """Give the schema that a `response_format` asks for, None where it asks for none. Raises BadRequest."""
    if given is None or given == {"type": "text"}:
        return None
    kind = given.get("type")
    if kind == "json_object":
        return ANY_OBJECT
    wanted = given.get("json_schema")
    if kind != "json_schema" or not isinstance(wanted, Mapping) or not isinstance(wanted.get("schema"), Mapping):
        raise unfit("response_format", "it must be 'text', 'json_object', or a 'json_schema' with a schema")
    return checked(wanted["schema"], "response_format")


def checked(schema: Mapping[str, Any], param: str) -> Mapping[str, Any]:
    """Give a schema that is not too much to read, and that a grammar can hold to. Raises BadRequest."""
    for depth, part in _parts(schema):
        if depth > MOST_DEPTH:
            raise unfit(param, f"the schema is deeper than {MOST_DEPTH} levels")
        least = part.get("minProperties")
        # A grammar counts keys that are written twice, a reader of JSON does not.
        if isinstance(least, int) and least > max(1, len(part.get("required") or ())):
            raise unfit(param, "the schema asks for 'minProperties' beyond those it requires by name")
    if len(json.dumps(schema)) > MOST_CHARACTERS:
        raise unfit(param, f"the schema is longer than {MOST_CHARACTERS:,} characters")
    # The grammar's own directives are no part of a schema.
    return {name: part for name, part in schema.items() if name != "x-guidance"}


def unfit(param: str, problem: str) -> BadRequest:
    return BadRequest(f"Invalid value for {param!r}: {problem}.", param=param, code="invalid_value")


def _parts(schema: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give every object in a schema with its depth, without going deeper than is allowed."""
    waiting: list[tuple[int, Any]] = [(1, schema)]
    while waiting:
        depth, part = waiting.pop()
        if isinstance(part, Mapping):
            yield depth, part
            waiting += [(depth + 1, value) for name, value in part.items() if name not in _DATA]
        elif isinstance(part, list):
            waiting += [(depth + 1, value) for value in part]
