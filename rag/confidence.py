"""How likely it is that a generated answer is right, by a calibration made for the model that wrote it.

Engines err in ways of their own: one cites whatever is near, one refuses what it could answer. What speaks for an
answer is read off its text and sources in the same way for all of them; what that is worth is fitted for each model
on questions whose answers are known (`evaluate/calibrate.py`). README, Confidence, has what each feature brings.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from rag.cite import Quote
from rag.extract import Extract, extract
from rag.ports import Embedder
from rag.statements import statements
from rag.support import Judge
from rag.types import Citation, Hit
from rag.words import read

FEATURES = ("sources_answer", "quotes_answer", "cites_likeliest", "question_words", "supported", "admits_gap")

SURE = 12.0
"""Log odds are cut here: beyond that a probability says nothing more."""

_ADMITS_GAP = re.compile(
    r"\b(?:do(?:es)?|did|is|are|was|were|has|have|can|could)(?: not|n[’']t)\b[^.]{0,40}\b"
    r"(?:say|state|mention|specif|provid|contain|includ|indicat|answer|address|disclos|available|given|found|clear)"
    r"|\bno (?:information|mention|details?|answer|indication)\b"
    r"|\bnot (?:specified|stated|mentioned|given|disclosed)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCalibration:
    """What the features of one model's answers are worth, by the names in FEATURES, and from where on one counts."""

    weights: Mapping[str, float]
    intercept: float
    threshold: float

    def probability(self, features: Mapping[str, float]) -> float:
        odds = self.intercept + sum(self.weights[name] * features[name] for name in FEATURES)
        return 1 / (1 + math.exp(-max(-SURE, min(SURE, odds))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Judges the answers of one model. The embedder is the one that it was calibrated with."""

    calibration: AnswerCalibration
    embedder: Embedder

    def of(self, question: str, answer: str, citations: Sequence[Citation], sources: Sequence[Hit]) -> float:
        """Give the probability that an answer is right; 0 for one that cites nothing, which is none."""
        if not citations:
            return 0.0
        return self.calibration.probability(features(question, answer, citations, sources, self.embedder))

    def suffices(self, likely: float) -> bool:
        return likely >= self.calibration.threshold


def features(
    question: str, answer: str, citations: Sequence[Citation], sources: Sequence[Hit], embedder: Embedder
) -> dict[str, float]:
    """Give what speaks for an answer that cites something, by the names in FEATURES.

    `sources_answer` and `quotes_answer` are log odds, by the extractive engine, that the best sentence of the sources
    and of what is cited answers; the others are shares. Embeds some dozens of sentences.
    """
    likeliest = extract(question, [_unseen(hit) for hit in sources], embedder)
    cited = extract(question, _cited(citations, sources), embedder)
    asked = read(question).content
    quoted = read(" ".join(citation.quote for citation in citations)).stems
    support = Judge(embedder=embedder).assess(answer, citations, sources)
    said = [one.text for one in statements(answer, citations)]
    return {
        "sources_answer": _log_odds(likeliest),
        "quotes_answer": _log_odds(cited),
        "cites_likeliest": float(any(_overlap(citation, one) for citation in citations for one in likeliest.quotes)),
        "question_words": len(asked & quoted) / max(1, len(asked)),
        "supported": mean([one.supported for one in support] or [0.0]),
        "admits_gap": mean([_ADMITS_GAP.search(one) is not None for one in said] or [0.0]),
    }


def _unseen(hit: Hit) -> Hit:
    """Give a hit without its cosine: stores differ in their embedders, and a calibration is to hold in all of them."""
    return replace(hit, cosine=None)


def _cited(citations: Sequence[Citation], sources: Sequence[Hit]) -> list[Hit]:
    """Give each quote as if it were all of its passage."""
    hits = {chunk_id: hit for hit in sources for _, chunk_id in hit.passage.chunks}
    quoted = {(one.chunk_id, one.source_start, one.source_end): one for one in citations if one.chunk_id in hits}
    return [_narrowed(hits[one.chunk_id], one) for one in quoted.values()]


def _narrowed(hit: Hit, cited: Citation) -> Hit:
    passage = replace(hit.passage, text=cited.quote, start=cited.source_start, end=cited.source_end, parts=())
    return replace(_unseen(hit), passage=passage)


def _overlap(citation: Citation, quote: Quote) -> bool:
    passage = quote.hit.passage
    start, end = passage.start + quote.span.start, passage.start + quote.span.end
    return citation.file_id == passage.file_id and citation.source_start < end and start < citation.source_end


def _log_odds(found: Extract) -> float:
    likely = found.probability
    if not 0 < likely < 1:
        return math.copysign(SURE, likely - 0.5)
    return max(-SURE, min(SURE, math.log(likely / (1 - likely))))
