"""The database: one engine a process, migrated before use. SQLite in the home by default, else PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import URL, Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from services.errors import DatabaseUnavailable, InvalidSettings
from services.storage import sqlite
from services.storage.postgres import connection as postgres

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Sessions over one database. `read` sees a snapshot; `write` is one transaction, committed or rolled back.

    A write takes the one write lock at its beginning, so that what it reads stays true until it commits; a second
    writer, in any process, waits up to 30 s. Over PostgreSQL each raises DatabaseUnavailable where it cannot be asked.
    """

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        self.engine = postgres.open_engine(self.url) if self.is_postgres else sqlite.open_engine(self.url)
        self._writes: dict[str, Any] = {"loam_write": True} | (postgres.WRITES if self.is_postgres else {})
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self.asked(), self._sessions() as session:
            yield session

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Read with plain SQL, in a snapshot as `read` does."""
        with self.asked(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self.asked(), self._sessions() as session:
            session.connection(execution_options=self._writes)
            yield session
            session.commit()

    def migrate(self, lock: Path) -> None:
        """Bring the schema to this version; processes that start together do it one after the other."""
        from services.storage.migrate import upgrade

        with FileLock(lock), self.asked():
            upgrade(self.engine, MIGRATIONS, write_options=self._writes)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Tell of a database that goes away, or does not let go of a lock: it comes back. SQLite tells of itself."""
        try:
            yield
        except OperationalError as exc:
            if not self.is_postgres:
                raise
            reason = (str(exc.orig).strip().splitlines() or [type(exc.orig).__name__])[0]
            raise DatabaseUnavailable(f"The database cannot be asked: {reason}") from exc


def _parsed(url: str) -> URL:
    try:
        # `postgres:` is how many a platform writes it.
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError:
        # Not the URL: there is a password in it.
        raise InvalidSettings("LOAM_DATABASE_URL is no URL of a database, as postgresql+psycopg://…") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidSettings(f"LOAM_DATABASE_URL names {parsed.get_backend_name()}: loam keeps SQLite or PostgreSQL.")
    return parsed
