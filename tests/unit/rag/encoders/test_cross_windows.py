import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing

from rag.encoders.cross_windows import PairWindow, Side, pair_windows

WORDS = ["[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
LETTERS = " ".join("abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return made


def cut(tokenizer: Tokenizer, pairs: list[tuple[str, str]], long: Side) -> list[tuple[int, str, str]]:
    windows = pair_windows(pairs, tokenizer, limit=13, long=long)
    return [(window.pair, *("".join(text.tokens) for text in window.texts)) for window in windows]


def test_pair_that_fits_is_one_window(tokenizer: Tokenizer) -> None:
    assert cut(tokenizer, [("a b", "c d e"), ("", "c")], 1) == [(0, "ab", "cde"), (1, "", "c")]


def test_empty_text_has_a_window(tokenizer: Tokenizer) -> None:
    assert cut(tokenizer, [("a", "")], 1) == [(0, "a", "")]


def test_long_text_is_read_to_its_end_in_windows_that_overlap(tokenizer: Tokenizer) -> None:
    windows = cut(tokenizer, [("x y", LETTERS)], 1)
    assert [text for _, _, text in windows] == ["abcdefgh", "ghijklmn", "mnopqrst", "stuvwxyz"]
    assert {text for _, text, _ in windows} == {"xy"}


def test_first_text_can_be_the_long_one(tokenizer: Tokenizer) -> None:
    windows = cut(tokenizer, [(LETTERS, "x y"), ("a", "b")], 0)
    assert [(pair, first) for pair, first, _ in windows][-2:] == [(0, "stuvwxyz"), (1, "a")]


def test_other_text_takes_half_of_a_window_at_most(tokenizer: Tokenizer) -> None:
    windows = cut(tokenizer, [(LETTERS, "x y z x y z")], 1)
    assert windows == [(0, "abcde", "xyzxy"), (0, "abcde", "yz")]


def test_no_window_is_longer_than_the_limit(tokenizer: Tokenizer) -> None:
    windows: list[PairWindow] = pair_windows([(LETTERS, LETTERS)], tokenizer, limit=13, long=1)
    assert max(len(tokenizer.post_process(*window.texts).ids) for window in windows) == 13
