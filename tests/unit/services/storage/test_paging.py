import pytest
from sqlalchemy.orm import Session

from services.errors import BadRequest
from services.storage.blobs import Blob
from services.storage.database import Database
from services.storage.files import add_file, list_files
from services.storage.paging import PageRequest
from services.storage.tables import DEFAULT_PROJECT


def add(session: Session, *names: str, purpose: str = "assistants") -> list[str]:
    blob = Blob(sha256="0" * 64, size_bytes=1)
    return [add_file(session, DEFAULT_PROJECT, filename=name, purpose=purpose, blob=blob).id for name in names]


@pytest.mark.parametrize(
    ("request_", "names", "has_more"),
    [
        ({}, "edcba", False),
        ({"limit": 2}, "ed", True),
        ({"limit": 5}, "edcba", False),
        ({"descending": False, "limit": 2}, "ab", True),
        ({"after": 2}, "ba", False),
        ({"descending": False, "after": 2}, "de", False),
        ({"before": 2, "limit": 1}, "d", True),
        ({"before": 2}, "ed", False),
        ({"descending": False, "before": 2}, "ab", False),
        ({"descending": False, "after": 0, "before": 4, "limit": 2}, "bc", True),
    ],
)
def test_a_page_holds_what_comes_after_or_just_before_its_cursor(
    database: Database, request_: dict[str, int], names: str, has_more: bool
) -> None:
    with database.write() as session:
        ids = add(session, *"abcde")
        cursors = {name: ids[request_[name]] for name in ("after", "before") if name in request_}
        page = list_files(session, DEFAULT_PROJECT, PageRequest(**(request_ | cursors)))

    assert ("".join(row.filename for row in page.rows), page.has_more) == (names, has_more)


def test_a_cursor_that_is_not_in_the_list_is_refused(database: Database) -> None:
    with database.read() as session, pytest.raises(BadRequest, match="no 'file-none' in this list") as refused:
        list_files(session, DEFAULT_PROJECT, PageRequest(after="file-none"))

    assert refused.value.param == "after"


def test_a_cursor_stays_good_when_its_row_is_filtered_out(database: Database) -> None:
    with database.write() as session:
        add(session, "a", purpose="vision")
        (cursor,) = add(session, "b", purpose="assistants")
        page = list_files(session, DEFAULT_PROJECT, PageRequest(after=cursor), purpose="vision")

    assert [row.filename for row in page.rows] == ["a"]
