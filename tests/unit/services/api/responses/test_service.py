import pytest

from services.api.responses.service import page_of
from services.errors import BadRequest
from services.storage.paging import PageRequest

ITEMS = [{"id": str(number)} for number in range(5)]


@pytest.mark.parametrize(
    ("page", "shown", "has_more"),
    [
        (PageRequest(), "43210", False),
        (PageRequest(descending=False, limit=2), "01", True),
        (PageRequest(descending=False, limit=2, after="1"), "23", True),
        (PageRequest(descending=False, limit=2, after="3"), "4", False),
        (PageRequest(descending=False, limit=2, before="4"), "23", True),
        (PageRequest(limit=2, after="3"), "21", True),
    ],
)
def test_items_are_given_by_the_page(page: PageRequest, shown: str, has_more: bool) -> None:
    given = page_of(ITEMS, page)

    assert "".join(item["id"] for item in given["data"]) == shown
    assert (given["first_id"], given["last_id"], given["has_more"]) == (shown[0], shown[-1], has_more)


def test_an_unknown_cursor_is_refused() -> None:
    with pytest.raises(BadRequest, match="none"):
        page_of(ITEMS, PageRequest(after="none"))
