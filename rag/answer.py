"""The spine of answering: question -> hits -> sources -> prompt -> text -> Answer with Citations.

`ground` is everything before the engine writes, `finish` everything after; a service that streams
calls the two around its engine, `answer` is both around a plain function. Nothing leaves `finish`
with a citation whose quote is not in its passage to the letter.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from prompts.messages import Message
from prompts.templates import Template, Templates
from rag.adjacent import Between, joined
from rag.budget import within_budget
from rag.cite import CitationFilter, is_refusal, verified
from rag.condense import condense
from rag.confidence import Confidence
from rag.decompose import decompose, merged
from rag.ports import Generator
from rag.support import Check
from rag.types import Answer, Citation, Grounding, Hit, Support

Search: TypeAlias = Callable[[str], Sequence[Hit]]
Write: TypeAlias = Callable[[Grounding], str]
CountTokens: TypeAlias = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a question is grounded: where to search, what to say to the model, how much fits.

    With `between` sources that follow each other in a document become one. With `decompose` a question that needs
    several look-ups is searched for part by part.
    """

    search: Search
    templates: Templates
    count_tokens: CountTokens
    prompt: str = "answer_with_sources"
    context_tokens: int = 3000
    generator: Generator | None = None
    between: Between | None = None
    decompose: bool = False


def answer(question: str, *, asking: Asking, write: Write, conversation: Sequence[Message] = ()) -> Answer:
    """Answer a question from the documents that `asking.search` finds."""
    grounding = ground(question, asking=asking, conversation=conversation)
    text = write(grounding)
    return finish(text, grounding, refusal=refusal(asking.templates))


def ground(question: str, *, asking: Asking, conversation: Sequence[Message] = ()) -> Grounding:
    """Find the sources for a question and render the prompt that holds them."""
    timings: dict[str, float] = {}
    with _timed(timings, "condense"):
        template = asking.templates.get("condense_question")
        standalone = condense(question, conversation, template=template, generator=asking.generator)
    queries: tuple[str, ...] = (standalone,)
    if asking.decompose:
        with _timed(timings, "decompose"):
            queries = _decomposed(standalone, asking)
    with _timed(timings, "search"):
        found = [asking.search(query) for query in queries]
        hits = merged(found) if len(found) > 1 else found[0]
    with _timed(timings, "prompt"):
        sources = within_budget(hits, asking.context_tokens, asking.count_tokens)
        if asking.between is not None:
            sources = joined(sources, asking.between)
        message = _prompt(asking.templates.get(asking.prompt), standalone, sources, refusal(asking.templates))
    return Grounding(
        question=standalone,
        sources=sources,
        instructions=message.content,
        role=message.role,
        prompt=asking.prompt,
        queries=queries,
        timings_ms=timings,
    )


def finish(
    text: str,
    grounding: Grounding,
    *,
    refusal: str,
    check: Check | None = None,
    confidence: Confidence | None = None,
    is_json: bool = False,
) -> Answer:
    """Check every mark of the text against its source and say whether the documents answered."""
    filter_ = CitationFilter(grounding.sources, is_json=is_json)
    checked = filter_.feed(text) + filter_.finish()
    return concluded(checked, filter_.citations, grounding, refusal=refusal, check=check, confidence=confidence)


def concluded(
    text: str,
    citations: Sequence[Citation],
    grounding: Grounding,
    *,
    refusal: str,
    check: Check | None = None,
    confidence: Confidence | None = None,
) -> Answer:
    """Give the answer for a text whose marks have been filtered: the last gate before it leaves.

    With a `check` its statements are judged too; if that leaves nothing that is cited, it is the refusal. With a
    `confidence` so is what is too likely to be wrong; what refuses or cites nothing has none, which is 0.
    """
    sound = verified(citations, text, grounding.sources)
    answered = bool(sound) and not is_refusal(text, refusal)
    support: tuple[Support, ...] = ()
    if answered and check is not None:
        text, sound, support = check(text, sound, grounding.sources)
        answered = bool(sound)
        text = text if answered else refusal
    likely: float | None = None
    if confidence is not None:
        likely = confidence.of(grounding.question, text, sound, grounding.sources) if answered else 0.0
        if answered and not confidence.suffices(likely):
            answered, text = False, refusal
    return Answer(
        text=text,
        citations=sound if answered else (),
        answered=answered,
        confidence=likely,
        sources=grounding.sources,
        support=support if answered else (),
        timings_ms=grounding.timings_ms,
    )


def refusal(templates: Templates) -> str:
    """Give the sentence that says that the documents do not answer."""
    return templates.get("refuse").render()


def _decomposed(question: str, asking: Asking) -> tuple[str, ...]:
    """Give its parts and then the question itself: a part that went wrong must not lose what it would have found."""
    template = asking.templates.get("decompose_question")
    parts = decompose(question, template=template, generator=asking.generator)
    return parts if len(parts) == 1 else tuple(dict.fromkeys((*parts, question)))


def _prompt(template: Template, question: str, sources: Sequence[Hit], refusal: str) -> Message:
    shown = [
        {
            "number": number,
            "filename": hit.passage.filename,
            "page": hit.passage.page,
            "heading": " > ".join(hit.passage.heading_path),
            "text": hit.passage.text,
        }
        for number, hit in enumerate(sources, start=1)
    ]
    values: dict[str, Any] = {"question": question, "sources": shown, "refusal": refusal}
    return template.message(**{name: values[name] for name in template.variables if name in values})


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    timings[stage] = (time.perf_counter() - begun) * 1000
