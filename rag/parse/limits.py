"""How much one file may cost before it is refused."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """The most that reading one file may take; what is over it is refused, never cut short.

    `seconds` is for all of a file's text, and again for each twenty of its pages that are recognised from pictures.
    """

    file_bytes: int = 512 * MIB
    expanded_bytes: int = 128 * MIB
    text_chars: int = 32_000_000
    seconds: int = 300
    memory_bytes: int = 4096 * MIB
