"""Schemas of answers: what is read of `response_format`, and what is too much."""

from typing import Any

import pytest

from services.engines.local.schemas import MOST_CHARACTERS, MOST_DEPTH, checked, read_format
from services.errors import BadRequest


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def asked_for(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        (asked_for({"type": "array"}), {"type": "array"}),
        (asked_for({"type": "array", "x-guidance": {"lenient": True}}), {"type": "array"}),
    ],
)
def test_a_format_is_a_schema_or_none(given: Any, schema: Any) -> None:
    assert read_format(given) == schema


@pytest.mark.parametrize(
    "given", [{}, {"type": "grammar"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}}]
)
def test_another_format_is_refused(given: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        read_format(given)

    assert refused.value.param == "response_format"


def test_depth_and_length_have_their_limits() -> None:
    assert checked(nested(MOST_DEPTH - 1), "response_format")
    for much in (nested(MOST_DEPTH), nested(100_000), {"enum": ["x" * MOST_CHARACTERS]}):
        with pytest.raises(BadRequest, match=r"deeper|longer"):
            checked(much, "response_format")


def test_more_properties_than_are_named_cannot_be_counted_on() -> None:
    two = {"type": "object", "minProperties": 2}
    with pytest.raises(BadRequest, match="minProperties"):
        checked({"items": two}, "tools")

    assert checked({**two, "required": ["a", "b"]}, "tools")
    assert checked({"enum": [two], "properties": {"minProperties": {"type": "integer"}}}, "tools")
