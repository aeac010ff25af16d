import traceback

import pytest
from sqlalchemy.exc import IntegrityError

from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, KeyRow


def test_errors_of_the_database_do_not_carry_what_was_written(database: Database) -> None:
    secret = "ab" + "12"
    with pytest.raises(IntegrityError) as caught:
        for key_id in ("key_1", "key_2"):
            with database.write() as session:
                session.add(
                    KeyRow(id=key_id, project_id=DEFAULT_PROJECT, name="", prefix="", sha256=secret, created_at=1)
                )
    assert "ab12" not in "".join(traceback.format_exception(caught.value))
