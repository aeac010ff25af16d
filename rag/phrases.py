"""Pairs of neighbouring query words that stand in a passage as they stand in the query.

    share = sum of the rarity of the pairs that the passage has / (the greatest rarity * number of the query's pairs)
    score = fused + PHRASE_WEIGHT * share * (1 - fused)

Which passages a pair tells apart, its rarity among the candidates at hand says: one that all of them have says nothing.
So no index holds positions. Neighbours tell what words one by one do not (Metzler and Croft, 2005, "A Markov random
field model for term dependencies"); what that gains here is in rag/README.md, Fusion.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice, pairwise, takewhile

from rag.lexical import rarity, terms_of
from rag.types import ChunkId

PHRASE_WEIGHT = 0.3
MOST_PAIRS = 64
# A question's best passages are often another's.
KEPT_TEXTS = 2_048
# A word is looked for up to its stem, if that is as long as this.
SHORTEST_STEM = 3

_WORD = re.compile(r"\w+")


def phrase_shares(query: str, texts: Mapping[ChunkId, str]) -> dict[ChunkId, float]:
    """Give each passage's share, 0..1, of the query's pairs; empty for a query that has none."""
    pairs = _pairs(query)
    if not pairs:
        return {}
    plain = {chunk_id: _plain(text) for chunk_id, text in texts.items()}
    holders = [[chunk_id for chunk_id, text in plain.items() if _stands_in(text, pair)] for pair in pairs]
    shares = dict.fromkeys(texts, 0.0)
    greatest = rarity(len(texts), 0) * len(pairs)
    for having in holders:
        for chunk_id in having:
            shares[chunk_id] += rarity(len(texts), len(having)) / greatest
    return shares


def raised(fused: float, share: float) -> float:
    """Give a score moved towards 1 by a share of phrases."""
    return fused + PHRASE_WEIGHT * share * (1 - fused)


def _pairs(query: str) -> Sequence[str]:
    """Give two words each with what stands between them, the second cut to its stem; none has words that only ask."""
    telling = [(word, terms) for word in _WORD.finditer(query) if (terms := terms_of(word[0]))]
    found = (
        _plain(query[first.start() : second.start() + _stem_length(second[0], terms[-1])])
        for (first, _), (second, terms) in pairwise(telling)
        if not _WORD.search(query, first.end(), second.start())
    )
    return list(islice(dict.fromkeys(found), MOST_PAIRS))


def _stands_in(text: str, pair: str) -> bool:
    """Tell whether the pair is in the text as words: "heat pump" is not in "wheat pump"."""
    place = text.find(pair)
    while place > 0 and _is_within_a_word(text[place - 1 : place + 1]):
        place = text.find(pair, place + 1)
    return place >= 0


def _is_within_a_word(border: str) -> bool:
    # Other scripts may have no spaces between their words.
    return border.isascii() and border.isalnum()


def _stem_length(word: str, stem: str) -> int:
    length = sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(word.lower(), stem, strict=False)))
    return length if length >= SHORTEST_STEM else len(word)


@lru_cache(KEPT_TEXTS)
def _plain(text: str) -> str:
    return " ".join(text.lower().split())
