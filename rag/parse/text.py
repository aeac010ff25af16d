"""From bytes to the characters of a text file, exactly as written but for a byte order mark."""

import codecs
import re

from rag.errors import InvalidFile, UnsupportedFile

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""<(?:meta|\?xml)\b[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Scripts that are written in bytes above 0x7f throughout; Western text hardly ever reaches the share.
_NON_WESTERN_SHARE = 0.4
_NON_WESTERN = [
    "cp1251", "koi8_r", "koi8_u", "cp1253", "cp1255", "cp1256", "cp874",
    "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "iso2022_jp",
]  # fmt: skip
_SAMPLE_BYTES = 65_536


def decode(content: bytes, filename: str) -> str:
    """Give the file's characters. Raises UnsupportedFile for binary data, InvalidFile for broken text."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _checked(_strict(content[len(mark) :], encoding, filename), filename)
    return _checked(_without_mark(content, filename), filename)


def has_mark(content: bytes) -> bool:
    """Tell whether the bytes begin with a byte order mark."""
    return content.startswith(tuple(mark for mark, _ in _MARKS))


def _without_mark(content: bytes, filename: str) -> str:
    if wide := _wide_encoding(content):
        return _strict(content, wide, filename)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _legacy(content)


def _strict(content: bytes, encoding: str, filename: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as exc:
        raise InvalidFile(f"{filename!r} is not valid {encoding.upper()} at byte {exc.start}.") from exc


def _wide_encoding(content: bytes) -> str | None:
    """Tell UTF-16 without a mark by where its zero bytes stand: every second one, in Latin text."""
    sample = content[:_SAMPLE_BYTES]
    if len(content) % 2 or len(sample) < 4:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if even == 0 and odd > len(sample) // 4:
        return "utf-16-le"
    return "utf-16-be" if odd == 0 and even > len(sample) // 4 else None


def _legacy(content: bytes) -> str:
    """Decode text from before Unicode: as it declares itself, else by its script, else as Western."""
    if declared := _DECLARED.search(content[:2048]):
        try:
            return content.decode(declared[1].decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass
    sample = content[:_SAMPLE_BYTES]
    if sum(byte > 0x7F for byte in sample) > _NON_WESTERN_SHARE * len(sample):
        from charset_normalizer import from_bytes

        if found := from_bytes(sample, cp_isolation=_NON_WESTERN).best():
            return content.decode(found.encoding, "replace")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _checked(text: str, filename: str) -> str:
    """Refuse what is not text: databases refuse NULs, and dropping them would move every offset."""
    if "\x00" in text:
        raise UnsupportedFile(
            f"{filename!r} has NUL characters, first at {text.index(chr(0))}: it is binary data or a damaged text.",
            hint="Convert it to a format that can be read.",
        )
    if len(_CONTROLS.findall(text[:_SAMPLE_BYTES])) > len(text[:_SAMPLE_BYTES]) // 50:
        raise UnsupportedFile(f"{filename!r} is binary data of an unknown format.")
    return text
