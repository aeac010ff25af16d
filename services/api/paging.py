"""Lists over HTTP, as OpenAI pages them."""

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, Protocol, TypeAlias, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from services.storage.paging import PageRequest

Order: TypeAlias = Literal["asc", "desc"]


class Identified(Protocol):
    """Anything that a list can go on from."""

    id: str


Item = TypeVar("Item")
Listed = TypeVar("Listed", bound=Identified)


class ListOf(BaseModel, Generic[Item]):
    """A page of a list. An empty one has neither a first nor a last id."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


def list_of(items: Sequence[Listed], *, has_more: bool) -> "ListOf[Listed]":
    return ListOf(
        object="list",
        data=list(items),
        first_id=items[0].id if items else None,
        last_id=items[-1].id if items else None,
        has_more=has_more,
    )


async def paging(
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    after: str | None = None,
    before: str | None = None,
) -> PageRequest:
    return PageRequest(limit=limit, descending=order == "desc", after=after or None, before=before or None)


PagingDep = Annotated[PageRequest, Depends(paging)]
