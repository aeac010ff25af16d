import io

import pytest

from services.api.files.service import clean_filename, pieces
from services.errors import BadRequest, TooLarge


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\docs\\a.txt", "a.txt"),
        ("a\x00b\x1f\x7fc.txt", "abc.txt"),
        (" spaced name .txt ", "spaced name .txt"),
        ("Übersicht – 2024.md", "Übersicht – 2024.md"),
    ],
)
def test_a_filename_is_kept_without_its_path_and_control_characters(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


@pytest.mark.parametrize("given", ["", "/", "..", "a/..", "\x00", "x" * 256])
def test_a_filename_of_which_nothing_is_left_is_refused(given: str) -> None:
    with pytest.raises(BadRequest):
        clean_filename(given)


def test_a_file_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert b"".join(pieces(io.BytesIO(b"abc"), 3)) == b"abc"
    with pytest.raises(TooLarge, match="over the limit of 2 bytes"):
        list(pieces(io.BytesIO(b"abc"), 2))
