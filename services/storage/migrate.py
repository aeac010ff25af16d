"""Brings a database to the schema of this version.

Migrations are one line of files, `versions/NNNN_what_it_does.py`, whose number is their revision.
So a database that is up to date is known by one look at the folder, without loading Alembic.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from services.errors import InvalidSettings


def upgrade(engine: Engine, migrations: Path, *, write_options: Mapping[str, Any]) -> None:
    """Run the migrations that the database lacks, all or none. Raises InvalidSettings when it is too new.

    With `write_options` a transaction takes the write lock: of two processes the second finds nothing left to do.
    """
    head, current = _head(migrations), _current(engine)
    if current == head:
        return
    if current is not None and current > head:
        raise InvalidSettings(
            f"The database is of a newer loam (schema {current}, this one knows {head}). Upgrade loam."
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.execution_options(**write_options).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _head(migrations: Path) -> str:
    return max(path.name for path in (migrations / "versions").glob("[0-9]*.py"))[:4]


def _current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
