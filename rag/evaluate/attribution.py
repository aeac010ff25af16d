"""Whether the passages that an answer cites bear it out, statement by statement, as ALCE measures it.

Gao et al. 2023, "Enabling Large Language Models to Generate Text with Citations", section 3, with a judge
of one's own in the place of their NLI model. A judge is asked whether a text bears a statement out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from rag.statements import Statement
from rag.types import ChunkId

Judge: TypeAlias = Callable[[str, str], bool]


def citation_recall(statements: Sequence[Statement], passages: Mapping[ChunkId, str], judge: Judge) -> float:
    """The share of the statements that all that they cite together bears out; one that cites nothing is not."""
    return sum(_is_supported(one, passages, judge) for one in statements) / len(statements) if statements else 0.0


def citation_precision(statements: Sequence[Statement], passages: Mapping[ChunkId, str], judge: Judge) -> float | None:
    """The share of the citations that serve their statement; None where there are none.

    One serves if its statement is supported, and it either supports it alone or is missed by the others.
    """
    served = [serves for one in statements for serves in _serving(one, passages, judge)]
    return sum(served) / len(served) if served else None


def key_points(given: str, points: Sequence[str], judge: Judge) -> float:
    """The share of what a full answer says that this one bears out."""
    return sum(judge(point, given) for point in points) / len(points)


def _is_supported(statement: Statement, passages: Mapping[ChunkId, str], judge: Judge) -> bool:
    return bool(statement.cited) and judge(statement.text, _together(statement.cited, passages))


def _serving(statement: Statement, passages: Mapping[ChunkId, str], judge: Judge) -> list[bool]:
    if not _is_supported(statement, passages, judge):
        return [False] * len(statement.cited)
    alone = [judge(statement.text, passages[one]) for one in statement.cited]
    without = [[other for other in statement.cited if other != one] for one in statement.cited]
    return [
        helps or not judge(statement.text, _together(others, passages))
        for helps, others in zip(alone, without, strict=True)
    ]


def _together(cited: Sequence[ChunkId], passages: Mapping[ChunkId, str]) -> str:
    return "\n\n".join(passages[one] for one in cited)
