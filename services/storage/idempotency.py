"""Answers to creates that carried an idempotency key, kept for a day, in the transaction that creates."""

import time
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from services.storage.tables import IdempotencyRow

RETENTION_S = 24 * 3600


def find_answer(session: Session, project_id: str, key: str) -> IdempotencyRow | None:
    """Give what was answered under that key, if it is still kept."""
    return session.scalar(
        select(IdempotencyRow).where(
            IdempotencyRow.project_id == project_id,
            IdempotencyRow.key == key,
            IdempotencyRow.created_at > int(time.time()) - RETENTION_S,
        )
    )


def keep_answer(session: Session, project_id: str, key: str, *, request_sha256: str, body: dict[str, Any]) -> None:
    """Keep an answer; the project's old ones go."""
    now = int(time.time())
    session.execute(
        delete(IdempotencyRow).where(
            IdempotencyRow.project_id == project_id, IdempotencyRow.created_at <= now - RETENTION_S
        )
    )
    session.add(
        IdempotencyRow(
            project_id=project_id,
            key=key,
            request_sha256=request_sha256,
            status=200,
            body=body,
            created_at=now,
        )
    )
