import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from services.errors import InvalidSettings
from services.storage.database import MIGRATIONS, Database
from services.storage.migrate import upgrade
from services.storage.tables import Base


def test_migrated_schema_equals_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrated_schema_has_the_constraints_that_comparison_does_not_see(database: Database, tmp_path: Path) -> None:
    made = Database(f"sqlite:///{tmp_path / 'made.db'}")
    with made.engine.begin() as connection:
        Base.metadata.create_all(connection)
    assert _statements(database) == _statements(made)
    made.close()


def test_migrations_are_numbered_in_one_line() -> None:
    numbers = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_database_up_to_date_is_known_without_alembic(database: Database) -> None:
    code = (
        "import sys; from services.storage.database import *; from services.storage.migrate import upgrade;"
        f"upgrade(Database({str(database.url)!r}).engine, MIGRATIONS); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.execution_options(loam_write=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidSettings, match="newer loam"):
        upgrade(database.engine, MIGRATIONS)


def _statements(database: Database) -> set[tuple[str, str]]:
    """The CREATE statements, without the blanks and quotes in which they differ."""
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    skipped = {"alembic_version", "sqlite_sequence"}
    unmarked = {name: sql.replace(",", " ").replace('"', "") for name, sql in rows if name not in skipped}
    return {(name, "".join(sorted(sql.split()))) for name, sql in unmarked.items()}
