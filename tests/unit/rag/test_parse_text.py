import codecs

import pytest

from rag.errors import InvalidFile, UnsupportedFile
from rag.parse.text import decode


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_and_is_left_out(mark: bytes, encoding: str) -> None:
    assert decode(mark + "né 🦀".encode(encoding), "a.txt") == "né 🦀"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_told_by_its_zero_bytes(encoding: str) -> None:
    assert decode("plain words\n".encode(encoding), "a.txt") == "plain words\n"


def test_line_ends_and_blanks_stay_as_they_are() -> None:
    assert decode(b" a\r\nb\rc\n\n\t", "a.txt") == " a\r\nb\rc\n\n\t"


def test_western_text_from_before_unicode_is_read() -> None:
    assert decode("café crème brûlée, 15 €".encode("cp1252"), "a.txt") == "café crème brûlée, 15 €"


def test_bytes_outside_cp1252_are_still_read_as_western() -> None:
    assert decode(b"caf\xe9 \x81", "a.txt") == "café \x81"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Привет, это обычный русский текст в старой кодировке. Он нужен для проверки.", "cp1251"),
        ("これは日本語の文章です。文字コードの判定を確認します。", "shift_jis"),
        ("这是一个中文文本，用来测试编码检测。我们希望它正确。", "gbk"),
    ],
)
def test_other_scripts_from_before_unicode_are_told_apart(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "a.txt") == text


def test_a_declared_encoding_is_honoured() -> None:
    page = '<meta charset="iso-8859-2"><p>Zażółć</p>'
    assert decode(page.encode("iso-8859-2"), "a.html") == page


def test_nul_characters_are_refused_with_their_place() -> None:
    with pytest.raises(UnsupportedFile, match="NUL characters, first at 3"):
        decode(b"abc\x00def", "a.txt")


def test_binary_data_is_refused() -> None:
    with pytest.raises(UnsupportedFile, match="binary data"):
        decode(b"\x7fELF\x02\x01\x01\x03\x04\x05\x06 words", "a.txt")


def test_a_few_control_characters_are_no_reason_to_refuse() -> None:
    assert decode(b"page one\x0cpage two\x0b", "a.txt") == "page one\x0cpage two\x0b"


def test_broken_utf16_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidFile, match="not valid UTF-16-LE at byte"):
        decode(codecs.BOM_UTF16_LE + b"a\x00\x00\xd8", "a.txt")
