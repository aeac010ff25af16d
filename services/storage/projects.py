"""Projects: who owns a row."""

import time

from services.storage.database import Database
from services.storage.tables import DEFAULT_PROJECT, ProjectRow


def ensure_default_project(database: Database) -> None:
    """Make the project that everything belongs to until there are others."""
    with database.read() as session:
        if session.get(ProjectRow, DEFAULT_PROJECT) is not None:
            return
    with database.write() as session:
        if session.get(ProjectRow, DEFAULT_PROJECT) is None:
            session.add(ProjectRow(id=DEFAULT_PROJECT, created_at=int(time.time())))
