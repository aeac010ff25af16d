"""The statements that an answer makes, each with the passages that it cites.

A mark belongs to the sentence that it stands in or comes after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rag.sentences import Span, sentences
from rag.types import ChunkId, Citation


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A sentence of an answer: `text` is `answer[span]` without its marks, `cited` what these name, each once.

    `end` is where the marks after the sentence end, else where it ends itself.
    """

    text: str
    span: Span
    end: int
    cited: tuple[ChunkId, ...]


def statements(answer: str, citations: Sequence[Citation]) -> list[Statement]:
    """Give the sentences of an answer in order; the citations are in order of their marks."""
    blanked = _blanked(answer, citations)
    spans = sentences(blanked)
    starts = [span.start for span in spans] + [len(answer)]
    return [
        _statement(answer, span, [one for one in citations if span.start <= one.start_index < after])
        for span, after in zip(spans, starts[1:], strict=True)
    ]


def _statement(answer: str, span: Span, marks: Sequence[Citation]) -> Statement:
    inside = [mark for mark in marks if mark.start_index < span.end]
    parts, position = [], span.start
    for mark in inside:
        parts.append(answer[position : mark.start_index].rstrip(" "))
        position = mark.end_index
    return Statement(
        text="".join([*parts, answer[position : span.end]]),
        span=span,
        end=max([span.end, *(mark.end_index for mark in marks)]),
        cited=tuple(dict.fromkeys(mark.chunk_id for mark in marks)),
    )


def _blanked(answer: str, citations: Sequence[Citation]) -> str:
    """Put blanks in the place of marks, so that offsets stay and a sentence ends where its full stop is."""
    for mark in citations:
        answer = answer[: mark.start_index] + " " * (mark.end_index - mark.start_index) + answer[mark.end_index :]
    return answer
