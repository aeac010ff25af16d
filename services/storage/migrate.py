"""Brings a database to the schema of this version.

Migrations are one line of files, `versions/NNNN_what_it_does.py`, whose number is their revision.
So a database that is up to date is known by one look at the folder, without loading Alembic. A new one is given the
tables as they are now, in a tenth of the time that all migrations take; tests hold the two against each other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, text

from services.errors import InvalidSettings


def upgrade(engine: Engine, migrations: Path, *, write_options: Mapping[str, Any]) -> None:
    """Run the migrations that the database lacks, all or none. Raises InvalidSettings when it is too new.

    With `write_options` a transaction takes the write lock: of two processes the second finds nothing left to do.
    """
    head = _head(migrations)
    with engine.connect() as connection:
        current = _current(connection)
    if current == head:
        return
    if current is not None and current > head:
        raise InvalidSettings(
            f"The database is of a newer loam (schema {current}, this one knows {head}). Upgrade loam."
        )
    with engine.execution_options(**write_options).begin() as connection:
        if _current(connection) is None:
            _create(connection, head)
        else:
            run_migrations(connection, migrations)


def run_migrations(connection: Connection, migrations: Path, revision: str = "head") -> None:
    """Run those that the database lacks, up to a revision, in the transaction that is begun."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _create(connection: Connection, revision: str) -> None:
    """Make all tables, and Alembic's own, which says that this is as far as the migrations are."""
    from services.storage import graph_tables, tuning_tables  # noqa: F401  # all tables are of one metadata
    from services.storage.tables import Base

    Base.metadata.create_all(connection)
    versions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
    versions.create(connection)
    connection.execute(insert(versions).values(version_num=revision))


def _head(migrations: Path) -> str:
    return max(path.name for path in (migrations / "versions").glob("[0-9]*.py"))[:4]


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
