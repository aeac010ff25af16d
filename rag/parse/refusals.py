"""Refusals that more than one reader has to give, in the same words."""

from rag.errors import InvalidFile


def encrypted(filename: str) -> InvalidFile:
    """The refusal of a file that needs a password."""
    return InvalidFile(f"{filename!r} is encrypted.", hint="Remove its password and try again.")
