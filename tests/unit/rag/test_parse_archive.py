import io
import struct
import zipfile

import pytest

from rag.errors import FileTooLarge, InvalidFile
from rag.parse.archive import check_expansion, office_media_type
from rag.parse.limits import ParseLimits

LIMITS = ParseLimits(expanded_bytes=100_000)


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def test_what_expands_within_the_limit_passes() -> None:
    check_expansion(zipped("word/document.xml", bytes(100_000)), "a.docx", LIMITS)


def test_a_bomb_is_refused_by_its_declared_size() -> None:
    with pytest.raises(FileTooLarge, match="expands to more"):
        check_expansion(zipped("word/document.xml", bytes(100_001)), "a.docx", LIMITS)


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    bomb = bytearray(zipped("word/document.xml", bytes(200_000)))
    directory = bomb.index(b"PK\x01\x02")
    struct.pack_into("<I", bomb, directory + 24, 10)
    with pytest.raises(FileTooLarge, match="expands to more"):
        check_expansion(bytes(bomb), "a.docx", LIMITS)


def test_a_bomb_inside_a_document_is_refused() -> None:
    inner = zipped("xl/sheet.xml", bytes(200_000))
    with pytest.raises(FileTooLarge, match="expands to more"):
        check_expansion(zipped("word/embeddings/book.xlsx", inner), "a.docx", LIMITS)


def test_damaged_compression_is_refused() -> None:
    content = bytearray(zipped("word/document.xml", bytes(range(256)) * 40))
    content[60:80] = b"\xff" * 20
    with pytest.raises(InvalidFile, match="damaged"):
        check_expansion(bytes(content), "a.docx", LIMITS)


def test_an_encrypted_member_is_called_encrypted() -> None:
    content = bytearray(zipped("word/document.xml", b"x"))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidFile, match="is encrypted"):
        office_media_type(bytes(content), "a.docx")


def test_a_part_that_is_read_to_know_the_format_is_not_unpacked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: asked.append(n) or read(self, n))
    content = zipped("META-INF/manifest.xml", bytes(3_000_000))
    assert office_media_type(content, "a.odt") is None
    assert asked == [1024 * 1024]


@pytest.mark.parametrize("place", [slice(38, 40), slice(-12, -8)])
def test_parts_that_are_not_where_they_are_listed_are_damage(place: slice) -> None:
    content = bytearray(zipped("mimetype", b"application/epub+zip"))
    content[place] = b"\xff" * len(content[place])
    with pytest.raises(InvalidFile, match="damaged"):
        office_media_type(bytes(content), "a.epub")
