"""API keys: the secret is shown once and only its sha256 is kept.

A key has 256 random bits, so that a plain hash cannot be searched; a slow one would add its time
to every request and no safety.
"""

import hashlib
import secrets
import time
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.ids import KEY, new_id
from services.storage.tables import KeyRow

PREFIX = "sk-loam-"
SHOWN_CHARACTERS = len(PREFIX) + 4
LAST_USED_RESOLUTION_S = 60


def create_key(session: Session, project_id: str, name: str) -> tuple[KeyRow, str]:
    """Make a key; give its row and the secret, which cannot be had again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    row = KeyRow(
        id=new_id(KEY),
        project_id=project_id,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        sha256=_digest(secret),
        created_at=int(time.time()),
    )
    session.add(row)
    session.flush()
    return row, secret


def find_key(session: Session, secret: str) -> KeyRow | None:
    """Give the live key with that secret."""
    return session.scalar(select(KeyRow).where(KeyRow.sha256 == _digest(secret), KeyRow.revoked_at.is_(None)))


def list_keys(session: Session, project_id: str) -> Sequence[KeyRow]:
    """Give all keys of a project, oldest first, revoked ones included."""
    return session.scalars(select(KeyRow).where(KeyRow.project_id == project_id).order_by(KeyRow.created_at)).all()


def any_live_key(session: Session) -> bool:
    return session.scalar(select(KeyRow.id).where(KeyRow.revoked_at.is_(None)).limit(1)) is not None


def revoke_key(session: Session, project_id: str, key_id: str) -> bool:
    """Revoke a key at once; False when there is no such live key."""
    revoked = session.execute(
        update(KeyRow)
        .where(KeyRow.project_id == project_id, KeyRow.id == key_id, KeyRow.revoked_at.is_(None))
        .values(revoked_at=int(time.time()))
        .returning(KeyRow.id)
    )
    return revoked.scalar() is not None


def note_use(session: Session, key_id: str, now: int) -> None:
    """Remember when a key was last used, to the minute."""
    stale = KeyRow.last_used_at.is_(None) | (KeyRow.last_used_at < now - LAST_USED_RESOLUTION_S)
    session.execute(update(KeyRow).where(KeyRow.id == key_id, stale).values(last_used_at=now))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
