"""Stored responses and the conversations that they form."""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from services.storage.tables import ResponseRow


def save_response(
    session: Session,
    project_id: str,
    *,
    response_id: str,
    previous_id: str | None,
    input_items: Sequence[Any],
    body: dict[str, Any],
) -> None:
    session.add(
        ResponseRow(
            id=response_id,
            project_id=project_id,
            previous_id=previous_id,
            input=list(input_items),
            body=body,
            created_at=int(time.time()),
        )
    )


def find_response(session: Session, project_id: str, response_id: str) -> ResponseRow | None:
    row = session.get(ResponseRow, response_id)
    return row if row is not None and row.project_id == project_id else None


def conversation(session: Session, project_id: str, response_id: str) -> list[ResponseRow]:
    """Give a response and those it followed, oldest first; the line ends where one has been deleted."""
    line: list[ResponseRow] = []
    row = find_response(session, project_id, response_id)
    while row is not None:
        line.append(row)
        row = find_response(session, project_id, row.previous_id) if row.previous_id else None
    return line[::-1]


def delete_response(session: Session, project_id: str, response_id: str) -> bool:
    """Delete a response; False when there is none of that id."""
    mine = delete(ResponseRow).where(ResponseRow.project_id == project_id, ResponseRow.id == response_id)
    return session.execute(mine.returning(ResponseRow.id)).scalar() is not None
