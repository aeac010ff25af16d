from collections.abc import Callable

import pytest
from openai.types import FileDeleted
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.api.idempotency import Creating
from services.errors import BadRequest
from services.storage.database import Database
from services.storage.idempotency import RETENTION_S
from services.storage.tables import DEFAULT_PROJECT, IdempotencyRow


def creating(database: Database, key: str | None) -> Creating:
    return Creating(database=database, project_id=DEFAULT_PROJECT, path="/v1/things", key=key)


def numbered() -> Callable[[Session], FileDeleted]:
    """Makes a thing with another number each time."""
    made: list[int] = []

    def make(_: Session) -> FileDeleted:
        made.append(len(made))
        return FileDeleted(id=f"thing-{len(made)}", object="file", deleted=True)

    return make


def test_the_same_create_under_one_key_gives_the_first_object(database: Database) -> None:
    make, once = numbered(), creating(database, "k").once

    assert once(FileDeleted, {"a": 1}, make) == once(FileDeleted, {"a": 1}, make)


def test_another_create_under_the_same_key_is_refused(database: Database) -> None:
    make, once = numbered(), creating(database, "k").once
    once(FileDeleted, {"a": 1}, make)

    with pytest.raises(BadRequest, match="first used with another request"):
        once(FileDeleted, {"a": 2}, make)


def test_creates_without_a_key_or_under_other_keys_are_their_own(database: Database) -> None:
    make = numbered()

    ids = [creating(database, key).once(FileDeleted, {}, make).id for key in (None, None, "a", "b")]

    assert ids == ["thing-1", "thing-2", "thing-3", "thing-4"]


def test_a_create_that_failed_leaves_its_key_free(database: Database) -> None:
    def fail(_: Session) -> FileDeleted:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        creating(database, "k").once(FileDeleted, {}, fail)

    assert creating(database, "k").once(FileDeleted, {}, numbered()).id == "thing-1"


def test_a_key_is_forgotten_after_a_day(database: Database) -> None:
    make = numbered()
    creating(database, "old").once(FileDeleted, {}, make)
    with database.write() as session:
        session.scalars(select(IdempotencyRow)).one().created_at -= RETENTION_S

    assert creating(database, "old").once(FileDeleted, {}, make).id == "thing-2"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(IdempotencyRow)) == 1
