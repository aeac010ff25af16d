"""Creates that can be sent again: one `Idempotency-Key`, one object.

The answer is kept in the transaction that creates, so that of two equal requests at once the second
waits and is given the first one's object, and an error keeps nothing.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from services.api.deps import ProjectDep, ServicesDep
from services.errors import BadRequest
from services.storage.database import Database
from services.storage.idempotency import find_answer, keep_answer

Made = TypeVar("Made", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creating:
    """A create on behalf of a project, at a path, under a key or none."""

    database: Database
    project_id: str
    path: str
    key: str | None = None

    def once(self, kind: type[Made], fields: Any, make: Callable[[Session], Made]) -> Made:
        """Give what `make` makes of `fields`, or what it made of them before. Raises BadRequest."""
        with self.database.write() as session:
            earlier = self._earlier(session, kind, fields)
            if earlier is not None:
                return earlier
            made = make(session)
            if self.key is not None:
                body = made.model_dump(mode="json", exclude_unset=True)
                keep_answer(session, self.project_id, self.key, request_sha256=self._digest(fields), body=body)
            return made

    def earlier(self, kind: type[Made], fields: Any) -> Made | None:
        """Give what was made of these fields before, so that long work need not be done again."""
        with self.database.read() as session:
            return self._earlier(session, kind, fields)

    def _earlier(self, session: Session, kind: type[Made], fields: Any) -> Made | None:
        answer = None if self.key is None else find_answer(session, self.project_id, self.key)
        if answer is None:
            return None
        if answer.request_sha256 != self._digest(fields):
            raise BadRequest(
                f"The idempotency key {self.key!r} was first used with another request. Send this one under a new key.",
                code="idempotency_key_reused",
            )
        return kind.model_validate(answer.body)

    def _digest(self, fields: Any) -> str:
        return hashlib.sha256(json.dumps([self.path, fields], sort_keys=True).encode()).hexdigest()


async def get_creating(
    request: Request,
    services: ServicesDep,
    project_id: ProjectDep,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Creating:
    return Creating(database=services.database, project_id=project_id, path=request.url.path, key=idempotency_key)


CreatingDep = Annotated[Creating, Depends(get_creating)]
