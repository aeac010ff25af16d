"""Whether each statement of an answer is borne out by the passages that it cites, and what is done where not.

A statement stands in a passage to the letter, or an entailment model says that it follows, or, where there is
none, it is close enough to a sentence or two of it by words and meaning (README, Support). A statement that
cites nothing is held against all sources: it may be borne out, only without saying by what. A number that a
passage lacks leaves it unsupported, except to a model.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain

from rag.cite import Alike, by_words, verbatim
from rag.ports import Embedder, Entailment
from rag.statements import Statement, statements
from rag.types import ChunkId, Citation, Hit, Support

SENTENCES = 8
"""So many spans of the passages are embedded for a statement: those that share most words with it."""

MIN_ENTAILED = 0.5
MIN_WORDS = 0.5
MIN_WORDS_AND_MEANING = 0.55
"""The mean of the share of words and the cosine that an own passage has and others do not (README, Support)."""

MARK = " [unsupported]"

_BULLET = re.compile(r"[ \t]*(?:(?:[-*+•‣]|\d{1,3}[.)])[ \t]+)?")


class Policy(Enum):
    """What becomes of statements that nothing bears out."""

    KEEP = "keep"
    MARK = "mark"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What statements are judged by; each part that is there makes it better."""

    embedder: Embedder | None = None
    entailment: Entailment | None = None

    def assess(self, answer: str, citations: Sequence[Citation], sources: Sequence[Hit]) -> tuple[Support, ...]:
        """Judge the statements of an answer in order; the citations are in order of their marks."""
        passages = {chunk_id: hit.passage.text for hit in sources for _, chunk_id in hit.passage.chunks}
        return tuple(self._judged(one, passages) for one in statements(answer, citations))

    def _judged(self, statement: Statement, passages: Mapping[ChunkId, str]) -> Support:
        texts = [passages[cited] for cited in statement.cited if cited in passages] or list(passages.values())
        score, least, how = self._scored(statement.text, texts)
        return Support(
            start=statement.span.start,
            end=statement.end,
            supported=score >= least,
            score=score,
            how=how,
            cited=statement.cited,
        )

    def _scored(self, stated: str, texts: Sequence[str]) -> tuple[float, float, str]:
        """Give the score, what it takes to be supported, and how it was found."""
        if any(verbatim(stated, text) for text in texts):
            return 1.0, 1.0, "quote"
        if self.entailment is not None and texts:
            # All together too: a statement may take something of each.
            premises = [*texts, "\n\n".join(texts)] if len(texts) > 1 else texts
            scores = self.entailment.entails([(text, stated) for text in premises])
            return max(scores), MIN_ENTAILED, "entailment"
        found = [(text, alike) for text in texts for alike in by_words(stated, text)]
        found.sort(key=lambda pair: -pair[1].share)
        if self.embedder is None:
            return found[0][1].share if found else 0.0, MIN_WORDS, "words"
        return _with_meaning(stated, found[:SENTENCES], self.embedder), MIN_WORDS_AND_MEANING, "words and meaning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What answers are judged by, and what becomes of statements that nothing bears out."""

    judge: Judge
    policy: Policy

    def __call__(
        self, answer: str, citations: Sequence[Citation], sources: Sequence[Hit]
    ) -> tuple[str, tuple[Citation, ...], tuple[Support, ...]]:
        """Give the answer as the policy wants it, with its citations and what was judged of it."""
        return enforced(answer, citations, self.judge.assess(answer, citations, sources), self.policy)


def enforced(
    answer: str, citations: Sequence[Citation], judged: Sequence[Support], policy: Policy
) -> tuple[str, tuple[Citation, ...], tuple[Support, ...]]:
    """Give the answer as the policy wants it, its citations and what was judged, moved to where they are then.

    Dropped statements take their marks and the blanks before them with them.
    """
    wrong = [] if policy is Policy.KEEP else [one for one in judged if not one.supported]
    if not wrong:
        return answer, tuple(citations), tuple(judged)
    edits = [_dropped(answer, one) if policy is Policy.DROP else _Edit(one.end, one.end, MARK) for one in wrong]
    kept = [one for one in citations if not any(edit.start <= one.start_index < edit.end for edit in edits)]
    left = [one for one in judged if not any(edit.start <= one.start < edit.end for edit in edits)]
    return (
        _edited(answer, edits),
        tuple(
            replace(
                one, start_index=(at := _moved(one.start_index, edits)), end_index=at + one.end_index - one.start_index
            )
            for one in kept
        ),
        tuple(replace(one, start=(at := _moved(one.start, edits)), end=at + one.end - one.start) for one in left),
    )


@dataclass(frozen=True, slots=True)
class _Edit:
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


def _dropped(answer: str, one: Support) -> _Edit:
    """Take a statement out with the blanks before it; one that has a line to itself with its line and list marker."""
    line = answer.rfind("\n", 0, one.start) + 1
    after = len(answer) - len(answer[one.end :].lstrip(" "))
    if not _BULLET.fullmatch(answer, line, one.start):
        return _Edit(len(answer[: one.start].rstrip(" ")), one.end, "")
    if after == len(answer):
        return _Edit(len(answer[:line].rstrip("\n")), after, "")
    return _Edit(line, after + 1, "") if answer[after] == "\n" else _Edit(one.start, after, "")


def _edited(answer: str, edits: Sequence[_Edit]) -> str:
    starts = [0, *(edit.end for edit in edits)]
    ends = [*(edit.start for edit in edits), len(answer)]
    between = [answer[start:end] for start, end in zip(starts, ends, strict=True)]
    return "".join(chain.from_iterable(zip(between, [*(edit.new for edit in edits), ""], strict=True)))


def _moved(place: int, edits: Sequence[_Edit]) -> int:
    return place + sum(len(edit.new) - (edit.end - edit.start) for edit in edits if edit.end <= place)


def _with_meaning(stated: str, found: Sequence[tuple[str, Alike]], embedder: Embedder) -> float:
    if not found or not found[0][1].share:
        return 0.0
    spans = [text[alike.span.start : alike.span.end] for text, alike in found]
    vectors = embedder.embed([stated, *spans])
    return (found[0][1].share + max(0.0, float((vectors[1:] @ vectors[0]).max()))) / 2
