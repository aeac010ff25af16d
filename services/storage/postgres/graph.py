"""The HNSW graph over a generation's vectors, made beside those who search and those who add."""

import logging

from sqlalchemy import Connection, Engine, text

from services.storage.postgres.tables import IndexTables

LOCK = 0x6C6F6102
# As pgvector makes them by itself.
LINKS, CANDIDATES = 16, 64
MEMORY = "512MB"

log = logging.getLogger(__name__)


def make(apart: Engine, tables: IndexTables) -> None:
    """Make it, unless another process does; what that broke off is made anew. What goes wrong is logged."""
    try:
        with apart.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            given = {"kind": LOCK, "id": tables.generation_id % 2**31}
            if connection.execute(text("SELECT pg_try_advisory_lock(:kind, :id)"), given).scalar():
                _make(connection, tables)
    except Exception:
        # Searches go on without it, over every vector; a removed generation's tables are gone.
        log.exception("graph_not_made generation=%d", tables.generation_id)


def _make(connection: Connection, tables: IndexTables) -> None:
    valid = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:graph)")
    if connection.execute(valid, {"graph": tables.graph}).scalar():
        return
    connection.execute(text("SET lock_timeout = 0"))
    connection.execute(text(f"SET maintenance_work_mem = '{MEMORY}'"))
    connection.execute(text(f"DROP INDEX IF EXISTS {tables.graph}"))
    name = tables.graph.partition(".")[2]
    connection.execute(
        text(
            f"CREATE INDEX CONCURRENTLY {name} ON {tables.vectors} USING hnsw (vector halfvec_ip_ops) "
            f"WITH (m = {LINKS}, ef_construction = {CANDIDATES})"
        )
    )
    log.info("graph_made generation=%d", tables.generation_id)
