import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFD
from tokenizers.pre_tokenizers import BertPreTokenizer

from rag.reading import LEAST, reading

WORDS = ["how", "many", "points", "were", "lost", "punk", "##te", "the", "rc"]
LETTERS = "قصيدةعنالبحرпоэмаморе"
SYLLABLES = "한국어가나다라마바사아자차카타파하"


def cut_by(*tokens: str, normalizer: NFD | None = None) -> Tokenizer:
    vocabulary = ["[UNK]", *dict.fromkeys(tokens)]
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


ENGLISH = cut_by(*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS))


def test_what_is_cut_into_words_is_read() -> None:
    assert reading("how many points were lost", ENGLISH) == 1.0


@pytest.mark.parametrize("text", ["قصيدة عن البحر", "поэма о море на даче"])
def test_what_is_cut_into_letters_is_not_read(text: str) -> None:
    assert reading(text, ENGLISH) < 0.05


def test_what_the_tokenizer_does_not_know_is_not_read() -> None:
    assert reading("黑豹队的防守丢了多少分", ENGLISH) == LEAST


def test_a_language_cut_into_parts_of_words_is_read_in_part() -> None:
    assert LEAST < reading("punkte punkte punkte", ENGLISH) < 1.0


def test_an_ideograph_that_is_known_says_as_much_as_a_word() -> None:
    text = "黑 豹 队 的 防 守 丢 了 多 少 分"
    assert reading(text, cut_by(*text.split())) == 1.0


def test_a_known_syllable_is_read_and_its_letters_one_by_one_are_not() -> None:
    text = "한국어가 나다라 마바사"
    assert reading(text, cut_by(*(f"{mark}{one}" for one in SYLLABLES for mark in ("", "##")))) >= 0.5
    jamo = [chr(code) for code in range(0x1100, 0x1200)]
    assert reading(text, cut_by(*jamo, *(f"##{one}" for one in jamo), normalizer=NFD())) < 0.1


@pytest.mark.parametrize("text", ["", "2018", "?!"])
def test_a_text_without_letters_counts_as_read(text: str) -> None:
    assert reading(text, ENGLISH) == 1.0


def test_a_short_name_is_not_taken_for_another_script() -> None:
    assert reading("rc", ENGLISH) > 0.5
