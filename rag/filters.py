"""Attribute filters: OpenAI's JSON in, a checked `Filter` out, and what a filter means.

The meaning, which every ChunkSource keeps to:

* `eq` and `in` match an attribute equal to the value, or to one of the values;
* `ne` and `nin` match everything that these do not, documents without the attribute included;
* `gt gte lt lte` compare a number with a number or a string with a string, by code points;
* values of different kinds are never equal and never ordered: a boolean is not a number, `"1"` is not 1;
* `and` over no filters matches everything, `or` nothing.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from rag.errors import InvalidFilter
from rag.ports import Comparison, Compound, Filter
from rag.types import AttributeValue

MAX_DEPTH = 16
ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
LISTS = ("in", "nin")
COMPARISONS = ("eq", "ne", *ORDERINGS, *LISTS)
COMPOUNDS = ("and", "or")


def parse_filter(given: object, *, place: str = "filters") -> Filter:
    """Check a filter as it came in a request. Raises InvalidFilter naming where it is wrong."""
    return _filter(given, place, depth=1)


def matches(filters: Filter, attributes: Mapping[str, AttributeValue]) -> bool:
    """Say whether a document with these attributes is wanted."""
    if isinstance(filters, Compound):
        every_or_any = all if filters.operator == "and" else any
        return every_or_any(matches(part, attributes) for part in filters.filters)
    if filters.operator in ("ne", "nin"):
        return not _equals_any(attributes.get(filters.attribute), filters.value)
    if filters.operator in ORDERINGS:
        return _is_ordered(ORDERINGS[filters.operator], attributes.get(filters.attribute), filters.value)
    return _equals_any(attributes.get(filters.attribute), filters.value)


def _equals_any(attribute: AttributeValue | None, value: object) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return any(_kind(attribute) is _kind(one) and attribute == one for one in values)


def _is_ordered(holds: Callable[[Any, Any], bool], attribute: AttributeValue | None, value: object) -> bool:
    return _kind(attribute) in (str, float) and _kind(attribute) is _kind(value) and holds(attribute, value)


def _kind(value: object) -> type:
    """Give the JSON kind of a value, integers and floats being one, booleans another."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _filter(given: object, place: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"{place} is nested more than {MAX_DEPTH} deep.")
    if not isinstance(given, Mapping):
        raise InvalidFilter(f"{place} must be an object, not {_named(given)}.")
    kind = given.get("type")
    if kind in COMPOUNDS:
        return _compound(kind, given, place, depth)
    if kind in COMPARISONS:
        return _comparison(kind, given, place)
    raise InvalidFilter(f"{place}.type must be one of {', '.join((*COMPARISONS, *COMPOUNDS))}, not {kind!r:.80}.")


def _compound(kind: str, given: Mapping[str, object], place: str, depth: int) -> Compound:
    _only(given, ("type", "filters"), place)
    parts = given["filters"]
    if not isinstance(parts, list | tuple):
        raise InvalidFilter(f"{place}.filters must be an array, not {_named(parts)}.")
    return Compound(kind, tuple(_filter(part, f"{place}.filters[{i}]", depth + 1) for i, part in enumerate(parts)))


def _comparison(kind: str, given: Mapping[str, object], place: str) -> Comparison:
    _only(given, ("type", "key", "value"), place)
    key = given["key"]
    if not isinstance(key, str) or not key:
        raise InvalidFilter(f"{place}.key must be a string that is not empty.")
    if kind in LISTS:
        return Comparison(kind, key, _values(given["value"], f"{place}.value"))
    wanted = (str, float) if kind in ORDERINGS else (str, float, bool)
    return Comparison(kind, key, _scalar(given["value"], wanted, f"{place}.value"))


def _values(given: object, place: str) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple):
        raise InvalidFilter(f"{place} must be an array, not {_named(given)}.")
    return tuple(_scalar(value, (str, float), f"{place}[{i}]") for i, value in enumerate(given))


def _scalar(given: object, wanted: tuple[type, ...], place: str) -> Any:
    if _kind(given) not in wanted or (isinstance(given, float) and not math.isfinite(given)):
        kinds = " or ".join({str: "a string", float: "a finite number", bool: "a boolean"}[kind] for kind in wanted)
        raise InvalidFilter(f"{place} must be {kinds}, not {_named(given)}.")
    return given


def _only(given: Mapping[str, object], keys: tuple[str, ...], place: str) -> None:
    if missing := [key for key in keys if key not in given]:
        raise InvalidFilter(f"{place}.{missing[0]} is missing.")
    if unknown := [key for key in given if key not in keys]:
        raise InvalidFilter(f"{place}.{unknown[0]!s:.80} is not known here; there are {', '.join(keys)}.")


def _named(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", float: "a number", bool: "a boolean"}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return names.get(_kind(value), "null")
