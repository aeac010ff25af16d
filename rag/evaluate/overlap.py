"""Whether an answer says what a right answer says, by its words: SQuAD's measures, and containment.

Words are compared as SQuAD's own script does (Rajpurkar et al. 2018, evaluate-v2.0.py): lower case, without
punctuation and English articles. For a text without spaces between words exact match and F1 mean little.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SPACED = re.compile(r"(?![\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])\w")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(given: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones."""
    return float(_normal(given) in {_normal(one) for one in right})


def f1(given: str, right: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, with the right answer that fits best."""
    return max((_f1(_normal(given).split(), _normal(one).split()) for one in right), default=0.0)


def containment(given: str, right: Sequence[str]) -> float:
    """1 if a right answer stands in the answer as whole words, whatever the case and the white space."""
    text = " ".join(given.casefold().split())
    return float(any(_holds(text, " ".join(one.casefold().split())) for one in right))


def _holds(text: str, wanted: str) -> bool:
    """Whether `wanted` stands in the text and is no part of a longer word; where words have no spaces it may be."""
    before = r"(?<!\w)" if re.match(_SPACED, wanted[:1]) else ""
    after = r"(?!\w)" if re.match(_SPACED, wanted[-1:]) else ""
    return bool(wanted) and re.search(before + re.escape(wanted) + after, text) is not None


def _f1(given: list[str], right: list[str]) -> float:
    if not given or not right:
        return float(given == right)
    same = sum((Counter(given) & Counter(right)).values())
    return 2 * same / (len(given) + len(right))


def _normal(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
