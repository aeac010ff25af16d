"""Lists a page at a time, in the order in which rows were made, from a cursor that is an id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.errors import BadRequest

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which part of a list is wanted: `limit` rows after one id, or the `limit` just before another."""

    limit: int = 20
    descending: bool = True
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """Part of a list; `has_more` tells of rows further on in the direction that was asked for."""

    rows: Sequence[Row]
    has_more: bool


def read_page(
    session: Session,
    rows: Select[Row],
    request: PageRequest,
    *,
    seq: InstrumentedAttribute[int],
    cursors: Select[int],
    cursor_id: InstrumentedAttribute[str],
) -> Page[Row]:
    """Read a page of `rows`, which are ordered by `seq`. Raises BadRequest for a cursor that is not there.

    `cursors` gives the `seq` of all rows of the list before any filter, so that a cursor stays good
    when its row has left the filter.
    """
    backwards = request.before is not None and request.after is None
    for name, cursor, upwards in (
        ("after", request.after, not request.descending),
        ("before", request.before, request.descending),
    ):
        if cursor is not None:
            place = _place(session, cursors.where(cursor_id == cursor), name, cursor)
            rows = rows.where(seq > place if upwards else seq < place)
    ascending = request.descending == backwards
    ordered = rows.order_by(seq.asc() if ascending else seq.desc())
    found = session.scalars(ordered.limit(request.limit + 1)).all()
    kept = found[: request.limit]
    return Page(rows=kept[::-1] if backwards else kept, has_more=len(found) > request.limit)


def _place(session: Session, cursors: Select[Any], name: str, cursor: str) -> int:
    place: int | None = session.scalar(cursors)
    if place is None:
        raise BadRequest(f"There is no {cursor!r} in this list to go on from.", param=name, code="invalid_cursor")
    return place
