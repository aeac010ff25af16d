"""Attributes of documents: written, read, and filtered by in SQL with the meaning that `rag.filters` gives."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    false,
    insert,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session

from rag.ports import Comparison, Compound, Filter
from rag.types import AttributeValue
from services.storage.tables import AttributeRow, DocumentRow

_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

_OF_DOCUMENTS = (
    select(AttributeRow.document_seq, AttributeRow.key, AttributeRow.text, AttributeRow.number, AttributeRow.flag)
    .where(AttributeRow.document_seq.in_(bindparam("seqs", expanding=True)))
    .order_by(AttributeRow.document_seq, AttributeRow.position)
)


def write_attributes(session: Session, given: Sequence[tuple[DocumentRow, Mapping[str, AttributeValue]]]) -> None:
    """Give each document its attributes in place of those it has."""
    session.execute(delete(AttributeRow).where(AttributeRow.document_seq.in_([document.seq for document, _ in given])))
    rows = [
        {"document_seq": document.seq, "project_id": document.project_id, "position": position, "key": key}
        | _columns(value)
        for document, attributes in given
        for position, (key, value) in enumerate(attributes.items())
    ]
    if rows:
        session.execute(insert(AttributeRow), rows)


def read_attributes(
    connection: Connection | Session, document_seqs: Iterable[int]
) -> dict[int, dict[str, AttributeValue]]:
    """Give the attributes of the documents that have some, in the order in which they were given."""
    rows = connection.execute(_OF_DOCUMENTS, {"seqs": list(document_seqs)})
    found: dict[int, dict[str, AttributeValue]] = {}
    for seq, key, text, number, flag in rows:
        found.setdefault(seq, {})[key] = next(value for value in (text, _shown(number), flag) if value is not None)
    return found


def _shown(number: float | None) -> float | None:
    """Give a whole number as it was most likely written: 2023, not 2023.0."""
    return int(number) if number is not None and number.is_integer() else number


def matching_documents(store_id: str, filters: Filter, dialect: str) -> Select[int]:
    """Give the query for the `seq` of a store's documents that match."""
    return select(DocumentRow.seq).where(DocumentRow.store_id == store_id, _condition(filters, dialect))


def _condition(filters: Filter, dialect: str) -> ColumnElement[bool]:
    if isinstance(filters, Compound):
        parts = [_condition(part, dialect) for part in filters.filters]
        return and_(true(), *parts) if filters.operator == "and" else or_(false(), *parts)
    if filters.operator in _ORDERINGS:
        return _has(filters.attribute, _ordered(filters, dialect))
    values = filters.value if isinstance(filters.value, tuple) else (filters.value,)
    equal = _has(filters.attribute, or_(false(), *_equal_to_any(values)))
    return not_(equal) if filters.operator in ("ne", "nin") else equal


def _has(attribute: str, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    mine = AttributeRow.document_seq == DocumentRow.seq
    return exists().where(mine, AttributeRow.key == _encodable(attribute), condition)


def _equal_to_any(values: Sequence[AttributeValue]) -> Iterable[ColumnElement[bool]]:
    """One condition a kind: a column that is null equals nothing, so that kinds never mix."""
    texts = [_encodable(value) for value in values if isinstance(value, str)]
    flags = [value for value in values if isinstance(value, bool)]
    numbers = [_number(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    for column, wanted in ((AttributeRow.text, texts), (AttributeRow.flag, flags), (AttributeRow.number, numbers)):
        if wanted:
            yield and_(column.is_not(None), column.in_(wanted))


def _ordered(comparison: Comparison, dialect: str) -> ColumnElement[bool]:
    compare, value = _ORDERINGS[comparison.operator], comparison.value
    if isinstance(value, str):
        # By code points, as SQLite does of itself.
        column = AttributeRow.text.collate("C") if dialect == "postgresql" else AttributeRow.text
        return and_(AttributeRow.text.is_not(None), compare(column, _encodable(value)))
    if isinstance(value, bool | tuple):
        return false()
    return and_(AttributeRow.number.is_not(None), compare(AttributeRow.number, _number(value)))


def _columns(value: AttributeValue) -> dict[str, Any]:
    empty = {"text": None, "number": None, "flag": None}
    if isinstance(value, bool):
        return empty | {"flag": value}
    return empty | ({"text": value} if isinstance(value, str) else {"number": _number(value)})


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON may carry and no stored text does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
