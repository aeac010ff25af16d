"""Questions asked of an engine: whether it says what is right, refuses what the documents do not say, and cites.

A refusal is right for a question that the documents do not answer and wrong for one that they do; exact match
and F1 count it so, as SQuAD v2 does. Citations are measured on what was answered: as ALCE does (attribution.py),
and, where it is known which files hold the answer, by these.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from rag.cite import support
from rag.evaluate.attribution import Judge, citation_precision, citation_recall, key_points
from rag.evaluate.overlap import containment, exact_match, f1
from rag.evaluate.questions import Asked
from rag.evaluate.report import Case, Report
from rag.statements import Statement, statements
from rag.types import Answer

MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    "containment": ("containment",),
    "exact_match": ("exact_match",),
    "f1": ("f1",),
    "key_points": ("key_points",),
    "answered_of_answerable": ("answered_of_answerable",),
    "abstention_recall": ("refused_of_unanswerable",),
    "abstention_precision": ("unanswerable_of_refused",),
    "balanced_accuracy": ("answered_of_answerable", "refused_of_unanswerable"),
    "citation_recall": ("citation_recall",),
    "citation_precision": ("citation_precision",),
    "source_recall": ("source_recall",),
    "source_precision": ("source_precision",),
}

Ask: TypeAlias = Callable[[str], Answer]
Features: TypeAlias = Callable[[str, Answer], Mapping[str, float]]


def borne_out(statement: str, text: str) -> bool:
    """The judge that needs no model: half of a statement's words and all its numbers in two neighbouring sentences."""
    return support(statement, text) is not None


def evaluate_answers(
    collection: str,
    questions: Sequence[Asked],
    ask: Ask,
    *,
    judge: Judge = borne_out,
    features: Features | None = None,
    setup: Mapping[str, str | int | float] | None = None,
    tell: Callable[[int], None] = lambda _done: None,
) -> Report:
    """Ask all questions; `tell` is told after each how many are done, `features` are recorded of what is answered."""
    cases = []
    for asked in questions:
        begun = time.perf_counter()
        answer = ask(asked.text)
        milliseconds = (time.perf_counter() - begun) * 1000
        case = Case(
            id=asked.id,
            question=asked.text,
            scores=scores(asked, answer, judge),
            milliseconds=milliseconds,
            given=answer.text,
            features=features(asked.text, answer) if features and answer.answered else {},
        )
        cases.append(case)
        tell(len(cases))
    return Report(kind="answers", collection=collection, measures=MEASURES, cases=cases, setup=setup or {})


def scores(asked: Asked, answer: Answer, judge: Judge = borne_out) -> dict[str, float]:
    """Give the measures that say something of this answer."""
    found = _of_answerable(asked, answer, judge) if asked.answerable else _of_unanswerable(answer)
    if not answer.answered:
        return found | {"unanswerable_of_refused": float(not asked.answerable)}
    return found | _of_citations(asked, answer, judge)


def _of_answerable(asked: Asked, answer: Answer, judge: Judge) -> dict[str, float]:
    given = _plain(statements(answer.text, answer.citations)) if answer.answered else ""
    found = {"answered_of_answerable": float(answer.answered)}
    if asked.answers:
        found["exact_match"] = exact_match(given, asked.answers)
        found["f1"] = f1(given, asked.answers)
        found["containment"] = containment(given, asked.answers)
    if asked.key_points:
        found["key_points"] = key_points(given, asked.key_points, judge)
    return found


def _of_unanswerable(answer: Answer) -> dict[str, float]:
    right = float(not answer.answered)
    return {"refused_of_unanswerable": right, "exact_match": right, "f1": right}


def _of_citations(asked: Asked, answer: Answer, judge: Judge) -> dict[str, float]:
    passages = {hit.passage.chunk_id: hit.passage.text for hit in answer.sources}
    said = statements(answer.text, answer.citations)
    found = {"citation_recall": citation_recall(said, passages, judge)}
    precision = citation_precision(said, passages, judge)
    if precision is not None:
        found["citation_precision"] = precision
    if asked.sources and asked.answerable:
        cited = {citation.filename for citation in answer.citations}
        right = len(cited & set(asked.sources))
        found["source_recall"] = right / len(set(asked.sources))
        found["source_precision"] = right / len(cited) if cited else 0.0
    return found


def _plain(said: Sequence[Statement]) -> str:
    return " ".join(one.text for one in said)
