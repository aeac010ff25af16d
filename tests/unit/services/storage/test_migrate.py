import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from services.errors import InvalidSettings
from services.storage import graph_tables, tuning_tables  # noqa: F401  # all tables are of one metadata
from services.storage.database import MIGRATIONS, Database
from services.storage.migrate import run_migrations
from services.storage.tables import Base
from tests.fakes.postgres import PostgresServer


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database brought through all migrations, as no new home is."""
    yield from _migrated(f"sqlite:///{tmp_path / 'migrated.db'}")


@pytest.fixture
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[Database]:
    url = postgres_server.create()
    yield from _migrated(url)
    postgres_server.drop(url)


def _migrated(url: str) -> Iterator[Database]:
    database = Database(url)
    with database.engine.connect().execution_options(loam_write=True) as connection, connection.begin():
        run_migrations(connection, MIGRATIONS)
    yield database
    database.close()


@pytest.mark.parametrize("name", ["migrated", "migrated_postgres"])
def test_migrated_schema_equals_the_tables(name: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(name)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_new_database_has_the_statements_and_the_version_of_a_migrated_one(migrated: Database, tmp_path: Path) -> None:
    made = Database(f"sqlite:///{tmp_path / 'made.db'}")
    made.migrate(tmp_path / "lock")
    assert _statements(made) == _statements(migrated)
    assert _version(made) == _version(migrated)
    made.close()


def test_new_postgres_has_the_constraints_and_indexes_of_a_migrated_one(
    postgres_url: str, migrated_postgres: Database
) -> None:
    made = Database(postgres_url)
    assert _constraints(made) == _constraints(migrated_postgres)
    assert _version(made) == _version(migrated_postgres)
    made.close()


def test_new_database_is_made_without_alembic(tmp_path: Path) -> None:
    assert not _loads_alembic(f"sqlite:///{tmp_path / 'new.db'}", tmp_path)


def test_migrations_are_numbered_in_one_line() -> None:
    numbers = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_database_up_to_date_is_known_without_alembic(database: Database, tmp_path: Path) -> None:
    assert not _loads_alembic(database.url.render_as_string(hide_password=False), tmp_path)


def _loads_alembic(url: str, folder: Path) -> bool:
    code = (
        "import sys; from pathlib import Path; from services.storage.database import Database;"
        f"Database({url!r}).migrate(Path({str(folder / 'lock')!r})); sys.exit('alembic' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert ended in (0, 1)
    return bool(ended)


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


def _version(database: Database) -> str:
    with database.connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _constraints(database: Database) -> set[tuple[str, str]]:
    """The constraints and indexes by their table: an old table's name lives on in those of its successor."""
    constraints = "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0"
    indexes = "SELECT tablename, regexp_replace(indexdef, '^.* ON ', '') FROM pg_indexes WHERE schemaname = 'public'"
    with database.connect() as connection:
        rows = connection.execute(text(f"{constraints} UNION ALL {indexes}")).all()
    return {(table, said) for table, said in rows if table != "alembic_version"}
