"""The database: one engine a process, migrated before use, SQLite in WAL mode by default."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Sessions over one database. `read` sees a snapshot; `write` is one transaction, committed or rolled back.

    On SQLite a write takes the write lock at its beginning, so that what it reads stays true until
    it commits; a second writer waits up to 30 s.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        # Parameters are document text and hashes of keys: no error may carry them into a log.
        self.engine = create_engine(self.url, pool_size=20, max_overflow=20, hide_parameters=True)
        if self.url.get_backend_name() == "sqlite":
            _configure_sqlite(self.engine)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._sessions() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._sessions() as session:
            session.connection(execution_options={"loam_write": True})
            yield session
            session.commit()

    def migrate(self, lock: Path) -> None:
        """Bring the schema to this version; processes that start together do it one after the other."""
        from services.storage.migrate import upgrade

        with FileLock(lock):
            upgrade(self.engine, MIGRATIONS)

    def close(self) -> None:
        self.engine.dispose()


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Any) -> None:
        write = connection.get_execution_options().get("loam_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
