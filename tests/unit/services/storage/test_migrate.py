import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from services.errors import InvalidSettings
from services.storage import graph_tables, tuning_tables  # noqa: F401  # all tables are of one metadata
from services.storage.database import MIGRATIONS, Database
from services.storage.tables import Base
from tests.fakes.postgres import PostgresServer


def test_migrated_schema_equals_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrated_schema_has_the_constraints_that_comparison_does_not_see(database: Database, tmp_path: Path) -> None:
    if database.is_postgres:
        pytest.skip("PostgreSQL's catalogue is compared above; its constraints below")
    made = Database(f"sqlite:///{tmp_path / 'made.db'}")
    with made.engine.begin() as connection:
        Base.metadata.create_all(connection)
    assert _statements(database) == _statements(made)
    made.close()


def test_postgres_has_the_same_constraints_and_partial_indexes(postgres_server: PostgresServer, tmp_path: Path) -> None:
    migrated, made = (Database(postgres_server.create()) for _ in range(2))
    migrated.migrate(tmp_path / "migrate.lock")
    for index in (index for table in Base.metadata.tables.values() for index in table.indexes):
        index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
    with made.engine.begin() as connection:
        Base.metadata.create_all(connection)
    assert _constraints(migrated) == _constraints(made)
    for database in (migrated, made):
        database.close()
        postgres_server.drop(database.url.render_as_string(hide_password=False))


def test_migrations_are_numbered_in_one_line() -> None:
    numbers = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_database_up_to_date_is_known_without_alembic(database: Database, tmp_path: Path) -> None:
    url, lock = database.url.render_as_string(hide_password=False), str(tmp_path / "lock")
    code = (
        "import sys; from pathlib import Path; from services.storage.database import Database;"
        f"Database({url!r}).migrate(Path({lock!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_database_of_a_newer_version_is_refused(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidSettings, match="newer loam"):
        database.migrate(tmp_path / "lock")


def _statements(database: Database) -> set[tuple[str, str]]:
    """The CREATE statements, without the blanks and quotes in which they differ."""
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    skipped = {"alembic_version", "sqlite_sequence"}
    unmarked = {name: sql.replace(",", " ").replace('"', "") for name, sql in rows if name not in skipped}
    return {(name, "".join(sorted(sql.split()))) for name, sql in unmarked.items()}


def _constraints(database: Database) -> set[tuple[str, str]]:
    """The constraints and indexes by their table: an old table's name lives on in those of its successor."""
    constraints = "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0"
    indexes = "SELECT tablename, regexp_replace(indexdef, '^.* ON ', '') FROM pg_indexes WHERE schemaname = 'public'"
    with database.connect() as connection:
        rows = connection.execute(text(f"{constraints} UNION ALL {indexes}")).all()
    return {(table, said) for table, said in rows if table != "alembic_version"}
