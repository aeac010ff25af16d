"""PostgreSQL as the database: one writer at a time, as many readers as come, each of one snapshot.

A write takes one advisory lock at its beginning, in all processes and on all machines the same. So what it reads stays
true until it commits, ids become visible in the order in which they were given, and whatever holds over SQLite holds
here. It is let go with the transaction, also when its connection is lost.
"""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from services.errors import InvalidSettings

DRIVER = "postgresql+psycopg"
# Any number that no other program takes over the same database: the letters of the name.
WRITE_LOCK = 0x6C6F616D
# The isolation of a transaction that writes: it has to see what the one that it waited for has committed.
WRITES: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
_SESSION = {
    # As long as SQLite is told to wait for its lock.
    "lock_timeout": "30s",
    # Of a writer whose machine is gone, nobody would hear the end.
    "idle_in_transaction_session_timeout": "120s",
    # Compiling a query takes longer than any of loam's takes to run.
    "jit": "off",
    # Of pgvector's graphs: how many candidates a search keeps, and that it goes on where a filter leaves too few.
    "hnsw.ef_search": "200",
    "hnsw.iterative_scan": "relaxed_order",
}
_LINK = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def open_engine(url: URL, *, pooled: bool = True) -> Engine:
    """Give an engine, without looking whether anyone answers. Raises InvalidSettings where the driver is missing."""
    options: dict[str, Any] = {"pool_size": 20, "max_overflow": 20, "pool_pre_ping": True}
    try:
        engine = create_engine(
            url.set(drivername=DRIVER),
            isolation_level="REPEATABLE READ",
            connect_args=_LINK | {"options": _options(url)},
            # Parameters are document text and hashes of keys: no error may carry them into a log.
            hide_parameters=True,
            **(options if pooled else {"poolclass": NullPool}),
        )
    except ImportError as exc:
        raise InvalidSettings(
            'LOAM_DATABASE_URL names PostgreSQL, and its driver is not installed: pip install "loam-server[postgres]".'
        ) from exc
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "handle_error", _on_error)
    return engine


def _options(url: URL) -> str:
    given = url.query.get("options", "")
    ours = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    # What the URL says comes last and wins.
    return f"{ours} {given if isinstance(given, str) else ' '.join(given)}".strip()


def _on_connect(connection: Any, _record: Any) -> None:
    from services.storage.postgres.text import TextWithoutNul

    connection.adapters.register_dumper(str, TextWithoutNul)


def _on_begin(connection: Any) -> None:
    if connection.get_execution_options().get("loam_write", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _on_error(context: Any) -> None:
    """Leave the first line of an error alone: what follows shows the row that was refused."""
    said, wrapped = context.original_exception, context.sqlalchemy_exception
    if (primary := getattr(getattr(said, "diag", None), "message_primary", None)) is None:
        return
    said.args = (primary,)
    if wrapped is not None:
        wrapped.args = (f"({type(said).__name__}) {primary}",)
