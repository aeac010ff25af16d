"""From what an engine wrote to what is sent: marks checked, annotations in place, loam's own object added."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from rag.answer import concluded
from rag.cite import CitationFilter
from rag.support import Policy
from rag.types import Answer, Citation, Support
from services.answering import Turn, conclude, in_worker
from services.engines.fallback import Tried
from services.engines.router import Route
from services.ids import CHAT_COMPLETION, CHUNK, new_id


def annotation(citation: Citation) -> dict[str, Any]:
    """Give the wire form of a citation."""
    cited = {
        "file_id": citation.file_id,
        "filename": citation.filename,
        "index": citation.index,
        "start_index": citation.start_index,
        "end_index": citation.end_index,
        "quote": citation.quote,
        "page": citation.page,
        "chunk_id": f"{CHUNK}{citation.chunk_id}",
        "score": round(citation.score, 6),
        "source_start": citation.source_start,
        "source_end": citation.source_end,
    }
    return {"type": "file_citation", "file_citation": cited}


def loam_info(
    route: Route,
    tried: Sequence[Tried],
    timings_ms: Mapping[str, float],
    *,
    answered: bool | None,
    confidence: float | None = None,
) -> dict[str, Any]:
    """Give what loam says of an answer: who wrote it, and who had failed before or could not take the request."""
    info: dict[str, Any] = {
        "answered": answered,
        "engine": route.engine.name,
        "model": route.model_id,
        "timings_ms": {stage: round(spent, 3) for stage, spent in timings_ms.items()},
    }
    if confidence is not None:
        info["confidence"] = round(confidence, 4)
    told = [{"model": one.model_id, "skipped": one.skipped, "reason": str(one.error)} for one in tried]
    return info | {"tried": told} if told else info


def support_info(support: Support) -> dict[str, Any]:
    """Give the wire form of what was judged of a statement."""
    return {
        "start_index": support.start,
        "end_index": support.end,
        "supported": support.supported,
        "score": round(support.score, 4),
        "how": support.how,
        "chunk_ids": [f"{CHUNK}{chunk_id}" for chunk_id in support.cited],
    }


class Sending:
    """One completion on its way out: its id, its clock, and what its choices came to.

    Sent `whole`, no text of a calibrated model leaves before it is known whether it counts. A stream gives it at once.
    """

    def __init__(self, turn: Turn, *, whole: bool = False) -> None:
        self.turn = turn
        self._whole = whole
        self._id = new_id(CHAT_COMPLETION)
        self._answers: list[Answer] = []
        self._choices: dict[int, _Choice] = {}

    def completion(self, completion: dict[str, Any]) -> dict[str, Any]:
        """Give a whole completion as it is sent."""
        for choice in completion["choices"]:
            message = choice.get("message") or {}
            answer = conclude(self.turn, message.get("content") or "", *self._taken(message))
            self._answers.append(answer)
            if self.turn.grounding is not None and message.get("content") is not None:
                message["content"] = answer.text
                message["annotations"] = [annotation(citation) for citation in answer.citations]
        return self._stamped(completion) | {"loam": self._loam()}

    async def chunks(self, written: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[dict[str, Any]]:
        """Give the chunks as they are sent; closing closes the engine's stream."""
        async with aclosing(written) as chunks:
            async for chunk in chunks:
                for sent in await self._in_place(chunk):
                    yield self._stamped(sent)

    async def _in_place(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        judges = self.turn.judges and any(choice.get("finish_reason") for choice in chunk["choices"])
        return await in_worker(partial(self._cited, chunk)) if judges else self._cited(chunk)

    def _cited(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """Give a chunk, before the one that ends a choice another that holds the last of its content."""
        ended = [choice for choice in chunk["choices"] if choice.get("finish_reason")]
        last = self._checked(chunk["choices"]) if self.turn.grounding else []
        sent = [{**chunk, "choices": last}, chunk] if last else [chunk]
        if ended and (not self.turn.grounding or len(self._answers) >= self._wanted):
            sent[0] = {**sent[0], "loam": self._loam()}
        return sent

    @property
    def _wanted(self) -> int:
        return self.turn.request.params.get("n") or 1

    def _checked(self, choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        endings = [self._checked_choice(choice) for choice in choices]
        return [ending for ending in endings if ending is not None]

    def _checked_choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """Check what a choice adds; at its end give the last of its content, if it has any, with the annotations."""
        delta = choice.setdefault("delta", {})
        state = self._choices.setdefault(choice.get("index", 0), _Choice(self.turn, whole=self._whole))
        content, (citations, likely) = delta.get("content"), self._taken(delta)
        if content:
            delta["content"] = state.feed(content)
        if not choice.get("finish_reason"):
            return None
        tail, answer = state.end(citations, likely)
        self._answers.append(answer)
        if not answer.text:
            return None
        ending = {"content": (delta.pop("content", None) or "") + tail}
        ending["annotations"] = [annotation(citation) for citation in answer.citations]
        return {
            "index": choice.get("index", 0),
            "delta": ending,
            "logprobs": choice.pop("logprobs", None),
            "finish_reason": None,
        }

    def _taken(self, written: dict[str, Any]) -> tuple[tuple[Citation, ...] | None, float | None]:
        """Take out what an engine that quotes cites, and how likely that answers.

        Of an upstream's own fields of these names nothing is known here.
        """
        if self.turn.route.generative:
            return None, None
        return written.pop("citations", None), written.pop("confidence", None)

    def _stamped(self, sent: dict[str, Any]) -> dict[str, Any]:
        sent["id"] = self._id
        sent["model"] = self.turn.route.model_id
        return sent

    def _loam(self) -> dict[str, Any]:
        grounding = self.turn.grounding
        timings = dict(grounding.timings_ms) if grounding else {}
        timings["generate"] = (time.perf_counter() - self.turn.begun) * 1000
        asked = grounding is not None or not self.turn.route.generative
        answered = any(answer.answered for answer in self._answers) if asked else None
        likely = max((answer.confidence for answer in self._answers if answer.confidence is not None), default=None)
        info = loam_info(self.turn.route, self.turn.tried, timings, answered=answered, confidence=likely)
        # Of several choices nobody could tell which one a span is in.
        judged = self._answers[0].support if len(self._answers) == 1 else ()
        return info | {"support": [support_info(one) for one in judged]} if judged else info


class _Choice:
    """The text of one choice as it grows. What an engine that quotes writes needs no filter.

    Where statements may be marked or dropped, nothing is sent before all of them have been judged; so it is where the
    whole is judged, and sent `whole`.
    """

    def __init__(self, turn: Turn, *, whole: bool) -> None:
        self._turn = turn
        self._text = ""
        sources = turn.grounding.sources if turn.grounding else ()
        self._filter = CitationFilter(sources, is_json=turn.is_json) if turn.route.generative else None
        edits = turn.check is not None and turn.check.policy is not Policy.KEEP
        self._holds = self._filter is not None and (edits or (whole and turn.confidence is not None))

    def feed(self, content: str) -> str:
        sent = self._filter.feed(content) if self._filter else content
        self._text += sent
        return "" if self._holds else sent

    def end(self, citations: tuple[Citation, ...] | None, likely: float | None) -> tuple[str, Answer]:
        """Give the rest of the text, and the answer that the whole of it is."""
        turn = self._turn
        if self._filter is None or turn.grounding is None:
            return "", conclude(turn, self._text, citations or (), likely)
        tail = self._filter.finish()
        answer = concluded(
            self._text + tail,
            self._filter.citations,
            turn.grounding,
            refusal=turn.refusal,
            check=turn.check,
            confidence=turn.confidence,
        )
        return answer.text if self._holds else tail, answer
