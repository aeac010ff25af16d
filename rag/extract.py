"""Answers by quoting: which sentence of the hits answers a question, and how likely any of them does.

Two small linear models with the coefficients of `calibration.py`: one chooses among the sentences
of the best hits, the other gives the probability that the chosen one answers. README, Abstention,
has what they were fitted on and the curve that the threshold was read from.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag.calibration import ALL_MINILM_L6_V2, Calibration
from rag.cite import Quote
from rag.cues import defines, kind_asked, new_words, term_asked
from rag.evidence import ABSTENTION, SELECTION, Evidence, Sentence
from rag.ports import Embedder
from rag.sentences import sentences
from rag.types import Hit
from rag.words import read

PASSAGES = 6
SENTENCES = 24
"""So many are embedded, about 800 word pieces; of more, those that share most words with the question."""

ONE_FACT, MORE = 0.6, 0.2
"""A second sentence is quoted when it is at least this likely, beside the first, to be the one that answers.

The first of the two where one fact is asked for, a number, a date, a name, or a term and the sentence defines it: other
questions are rarely answered in a sentence.
"""

SECOND_NEWS = 0.2
"""At least this share of its words must not stand in the first: documents say things twice."""

DEFINITION = 2.0
"""What speaks for a sentence that defines what is asked about; SQuAD, which the rest was fitted on, has none."""

_LINK_TARGET = re.compile(r"(?<=\])\([^()\s]*\)")
_ASKS = re.compile(r"[?？؟][\s\"'”’»)\]*_`]*$")
_OPEN_QUESTION = re.compile(r"\W*(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """The sentences that answer best, the likeliest first, and whether they are worth giving.

    `probability` is that of an even mixture of questions that the documents answer and that they
    do not. `quotes` are there also when it is below the threshold; empty only without hits.
    """

    quotes: tuple[Quote, ...]
    probability: float
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The sentences that may answer, as quotes and as evidence, in the same order."""

    quotes: tuple[Quote, ...]
    evidence: Evidence


def extract(
    question: str, hits: Sequence[Hit], embedder: Embedder, *, calibration: Calibration = ALL_MINILM_L6_V2
) -> Extract:
    """Give the sentences of the hits that answer the question best. The hits are best first, as retrieved."""
    gathered = gather(question, hits, embedder)
    if gathered is None:
        return Extract(quotes=(), probability=0.0, answered=False)
    scores = gathered.evidence.selection_features() @ _weights(calibration.selection, SELECTION)
    defining = _defining(question, gathered.quotes)
    scores += DEFINITION * defining
    first = int(scores.argmax())
    second_likely = ONE_FACT if defining[first] or kind_asked(question) else MORE
    probability = _probability(gathered.evidence.abstention_features(first), calibration)
    return Extract(
        quotes=(gathered.quotes[first], *_second(gathered.quotes, scores, first, second_likely)),
        probability=probability,
        answered=probability >= calibration.threshold,
    )


def gather(question: str, hits: Sequence[Hit], embedder: Embedder) -> Gathered | None:
    """Read and embed what may answer; None where the hits hold no sentence."""
    every = (pair for number, hit in enumerate(hits[:PASSAGES], start=1) for pair in _of_passage(number, hit))
    found = [(quote, sentence) for quote, sentence in every if _may_answer(question, quote.text, sentence)]
    if not found:
        return None
    if len(found) > SENTENCES:
        found = _most_alike(read(question).content, found)
    quotes, read_sentences = zip(*found, strict=True)
    vectors = embedder.embed([question, *(quote.text for quote in quotes)])
    return Gathered(quotes=quotes, evidence=Evidence(question, read_sentences, vectors[1:] @ vectors[0]))


def _of_passage(number: int, hit: Hit) -> Iterator[tuple[Quote, Sentence]]:
    passage = hit.passage
    headings = read(" ".join((passage.title or "", *passage.heading_path))).stems
    around = read(passage.text).stems | headings
    before: frozenset[str] = frozenset()
    for span in sentences(passage.text):
        # Where a link leads is no word of the sentence.
        reading = read(_LINK_TARGET.sub("", passage.text[span.start : span.end]))
        near = reading.stems | before | headings
        yield (
            Quote(hit=hit, span=span),
            Sentence(reading=reading, near=near, around=around, passage=number, passage_cosine=hit.cosine),
        )
        before = reading.stems


def _may_answer(question: str, text: str, sentence: Sentence) -> bool:
    """Leave out what only asks, and where more than a yes or no is asked for, what says only the question's words."""
    if _ASKS.search(text):
        return False
    return bool(new_words(read(question), sentence.reading)) or not _OPEN_QUESTION.match(question)


def _most_alike(about: frozenset[str], found: list[tuple[Quote, Sentence]]) -> list[tuple[Quote, Sentence]]:
    """Give the SENTENCES that share most words with the question, in the order they had."""
    by_words = sorted(range(len(found)), key=lambda i: (-len(about & found[i][1].reading.stems), i))
    return [found[i] for i in sorted(by_words[:SENTENCES])]


def _second(quotes: Sequence[Quote], scores: NDArray[np.float64], first: int, likely: float) -> list[Quote]:
    """Give the runner-up where it is nearly as likely, and says something more."""
    said = read(quotes[first].text).stems
    others = [i for i, quote in enumerate(quotes) if _news(quote.text, said) >= SECOND_NEWS]
    if not others:
        return []
    second = max(others, key=lambda i: scores[i])
    return [quotes[second]] if scores[second] - scores[first] >= math.log(likely) else []


def _defining(question: str, quotes: Sequence[Quote]) -> NDArray[np.bool_]:
    term = term_asked(question)
    return np.array([term is not None and defines(term, quote.text) for quote in quotes])


def _news(text: str, said: frozenset[str]) -> float:
    """Give the share of a text's words that were not said."""
    about = read(text).content
    return len(about - said) / max(1, len(about))


def _probability(features: NDArray[np.float64], calibration: Calibration) -> float:
    return 1 / (1 + math.exp(-float(features @ _weights(calibration.abstention, ABSTENTION)) - calibration.intercept))


def _weights(fitted: Mapping[str, float], names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([fitted[name] for name in names])
