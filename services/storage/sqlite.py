"""SQLite as the database: in WAL mode, so that readers go on beside the one writer."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000")


def open_engine(url: URL) -> Engine:
    """Give an engine whose writes take the write lock at their beginning; a second writer waits up to 30 s."""
    # Parameters are document text and hashes of keys: no error may carry them into a log.
    engine = create_engine(url, pool_size=20, max_overflow=20, hide_parameters=True)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Any) -> None:
    write = connection.get_execution_options().get("loam_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
