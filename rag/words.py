"""The words of a text as answering compares them: lower case, stemmed, function words told apart.

Made for comparing a question or a claim with one sentence, not for an index. Stems are English;
in other languages they are the words themselves, nearly. Text without spaces between words is
compared by pairs of characters.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import Stemmer

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+")


def listed(words: str) -> frozenset[str]:
    """Give the words of a list written as one string."""
    return frozenset(words.split())


FUNCTION_WORDS = listed(
    "a an the this that these those it its he she they them his her their we us our you your i me my one of in on at"
    " to from by for with about into as and or but nor if so than then there here be is are was were been being am do"
    " does did done doing have has had having can could will would shall should may might must what which who whom"
    " whose when where why how not no n't also just only very too any some all each both such same other s t"
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text: as written, stemmed, and where it begins."""

    text: str
    stem: str
    start: int

    @property
    def is_number(self) -> bool:
        return self.text[0].isdecimal()

    @property
    def is_function_word(self) -> bool:
        return self.text.lower() in FUNCTION_WORDS


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of a text, their stems and the pairs of neighbouring stems."""

    words: tuple[Word, ...]
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]

    @property
    def content(self) -> frozenset[str]:
        """The stems of what the text is about; all of them where it has function words only."""
        return frozenset(word.stem for word in self.words if not word.is_function_word) or self.stems


@lru_cache(maxsize=512)
def read(text: str) -> Reading:
    """Take a text apart, once for all that is asked of it: questions in a row meet the same passages."""
    found = tuple(words(text))
    stems = [word.stem for word in found]
    return Reading(found, frozenset(stems), frozenset(pairwise(stems)))


def words(text: str) -> list[Word]:
    """Give the words of `text` in order."""
    return [word for match in _WORD.finditer(text) for word in _taken_apart(match)]


def _taken_apart(match: re.Match[str]) -> list[Word]:
    found, start = match[0], match.start()
    if _UNSPACED.fullmatch(found) and len(found) > 1:
        return [Word(found[i : i + 2], found[i : i + 2], start + i) for i in range(len(found) - 1)]
    return [Word(found, stem(found), start)]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Give what a word is compared by: numbers without separators, else its English stem, accents off."""
    if word[0].isdecimal():
        return word.replace(",", "")
    plain = word.casefold().replace("’", "'").removesuffix("'s")
    letters = "".join(char for char in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(char))
    return str(_stemmer.stemWord(letters))


_stemmer = Stemmer.Stemmer("english")
