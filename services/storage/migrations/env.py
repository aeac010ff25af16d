"""Alembic's entry: runs within the connection and transaction that `services.storage.migrate` opened."""

from alembic import context
from sqlalchemy import create_engine

from services.settings import load_settings
from services.storage import graph_tables, tuning_tables  # noqa: F401  # all tables are of one metadata
from services.storage.tables import Base


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        # Called as `alembic` by someone who writes a migration.
        connection = create_engine(load_settings().database).connect()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transactional_ddl=True,
        # SQLite cannot alter a column: Alembic copies the table.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
