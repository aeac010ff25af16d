"""What speaks for a sentence as the answer to a question, in numbers that mean the same in every store.

Nothing here depends on how many documents there are: words are weighed by how few of the sentences
at hand have them, and cosines are absolute.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag.cues import contradicts, kind_asked, kind_found, new_words
from rag.words import Reading, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence that may answer, in the passage numbered `passage`.

    `near` are the stems of it, of the sentence before and of the headings; `around` those of the
    whole passage and the headings. `passage_cosine` is None where no search by meaning saw it.
    """

    reading: Reading
    near: frozenset[str]
    around: frozenset[str]
    passage: int
    passage_cosine: float | None


SELECTION = (
    "sentence_cosine",
    "passage_cosine",
    "best_cosine_in_passage",
    "rare_words",
    "near_words",
    "passage_words",
    "word_pairs",
    "answer_kind",
    "new_words",
)

ABSTENTION = (
    "best_sentence_cosine",
    "best_passage_cosine",
    "missing_number",
    "missing_names",
    "new_words",
    "contradiction",
)


class Evidence:
    """A question, the sentences that may answer it, and their cosines with it, `float32 [n]`, n at least 1."""

    def __init__(self, question: str, sentences: Sequence[Sentence], cosines: NDArray[np.float32]) -> None:
        self._question = read(question)
        self._about = self._question.content
        self._kind = kind_asked(question)
        self._sentences = sentences
        self._cosines: list[float] = cosines.tolist()
        self._best: dict[int, float] = {}
        for sentence, cosine in zip(sentences, self._cosines, strict=True):
            self._best[sentence.passage] = max(cosine, self._best.get(sentence.passage, -1.0))

    def selection_features(self) -> NDArray[np.float64]:
        """Give `float64 [n, len(SELECTION)]`: how well each sentence answers, beside the others."""
        rarity = self._rarity()
        return np.array([self._beside_others(i, rarity) for i in range(len(self._sentences))], dtype=np.float64)

    def abstention_features(self, chosen: int) -> NDArray[np.float64]:
        """Give `float64 [len(ABSTENTION)]`: whether the chosen sentence answers at all."""
        sentence = self._sentences[chosen]
        asked = self._question.words
        names = {word.stem for word in asked[1:] if word.text[0].isupper() and not word.is_function_word}
        numbers = {word.stem for word in asked if word.is_number}
        features = (
            max(self._cosines),
            max(self._passage_cosine(one) for one in self._sentences),
            bool(numbers - sentence.reading.stems),
            len(names - sentence.near) / max(1, len(names)),
            math.log1p(len(new_words(self._question, sentence.reading))),
            contradicts(self._question, sentence.reading),
        )
        return np.array(features, dtype=np.float64)

    def _beside_others(self, i: int, rarity: Mapping[str, float]) -> tuple[float, ...]:
        sentence, about = self._sentences[i], self._about
        shared_pairs = self._question.pairs & sentence.reading.pairs
        return (
            self._cosines[i],
            self._passage_cosine(sentence),
            self._best[sentence.passage],
            sum(rarity[stem] for stem in about & sentence.reading.stems),
            len(about & sentence.near) / max(1, len(about)),
            len(about & sentence.around) / max(1, len(about)),
            len(shared_pairs) / max(1, len(self._question.pairs)),
            kind_found(self._kind, self._question, sentence.reading),
            math.log1p(len(new_words(self._question, sentence.reading))),
        )

    def _passage_cosine(self, sentence: Sentence) -> float:
        return self._best[sentence.passage] if sentence.passage_cosine is None else sentence.passage_cosine

    def _rarity(self) -> dict[str, float]:
        """Give each word's weight, in all 1: its inverse frequency among these sentences, squared.

        The store's own frequencies say nothing where it is one short document.
        """
        frequency = Counter(stem for one in self._sentences for stem in self._about & one.reading.stems)
        weights = {stem: math.log1p(len(self._sentences) / (1 + frequency[stem])) ** 2 for stem in self._about}
        return {stem: weight / sum(weights.values()) for stem, weight in weights.items()}
