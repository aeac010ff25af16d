"""A collection's questions asked of a search: recall, reciprocal rank and nDCG of each."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from rag.evaluate.collection import Collection, Question
from rag.evaluate.ranking import ndcg, recall, reciprocal_rank
from rag.evaluate.report import Case, Report

RECALL_AT: Final = (1, 2, 3, 5, 10, 20)
DEPTH: Final = 50
"""So many passages are asked for, so that the first 20 texts are there when several are passages of one."""

MEASURES: Final = {"ndcg@10": ("ndcg@10",), "mrr@10": ("mrr@10",)} | {
    name: (name,) for name in (f"recall@{k}" for k in RECALL_AT)
}

Rank: TypeAlias = Callable[[str], Sequence[int]]
"""Gives the positions of texts for a question, best first; one that is named again counts where it came first."""


def evaluate_retrieval(
    collection: Collection,
    rank: Rank,
    *,
    setup: Mapping[str, str | int | float] | None = None,
    tell: Callable[[int], None] = lambda _done: None,
) -> Report:
    """Ask all questions of a collection; `tell` is told after each how many are done."""
    cases = []
    for question in collection.questions:
        begun = time.perf_counter()
        ranking = list(dict.fromkeys(rank(question.text)))
        cases.append(_case(question, ranking, (time.perf_counter() - begun) * 1000, collection.ids))
        tell(len(cases))
    return Report(kind="retrieval", collection=collection.name, measures=MEASURES, cases=cases, setup=setup or {})


def scores(ranking: Sequence[int], relevant: Mapping[int, int]) -> dict[str, float]:
    """Give all measures of one ranking."""
    at = {f"recall@{k}": recall(ranking, relevant, k) for k in RECALL_AT}
    return {"ndcg@10": ndcg(ranking, relevant), "mrr@10": reciprocal_rank(ranking, relevant)} | at


def positions(names: Iterable[str], position: Mapping[str, int]) -> Iterator[int]:
    """Give the positions of what was found; -1, which is never right, for what the collection does not have."""
    return (position.get(name, -1 - place) for place, name in enumerate(names))


def _case(question: Question, ranking: Sequence[int], milliseconds: float, ids: Sequence[str]) -> Case:
    return Case(
        id=question.id,
        question=question.text,
        scores=scores(ranking, question.relevant),
        milliseconds=milliseconds,
        given=", ".join(ids[place] if place >= 0 else "?" for place in ranking[:5]),
    )
