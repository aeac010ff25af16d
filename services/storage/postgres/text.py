"""Texts on their way to PostgreSQL, which takes every character but NUL."""

from typing import Any

from psycopg.types.string import StrDumperUnknown

REPLACEMENT = "\ufffd"


class TextWithoutNul(StrDumperUnknown):
    """Writes U+FFFD for each NUL: a name or a note with one is kept rather than refused, at its length.

    Texts of documents have none: reading refuses them, or takes them out.
    """

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", REPLACEMENT))
