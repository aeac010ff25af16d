"""One request and the models that may answer it, in order: the one that was asked for, then those that stand in.

Another model is asked when one fails in a way that the next need not: it cannot be reached, is too late, busy, not
ready, or left alone for its failures. What is wrong with the request itself is told to the caller by the first. A
stream passes to another model only before its first word: what has been said is not taken back.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from services.engines.engine import ChatRequest, TextRequest
from services.engines.router import Route, Router
from services.errors import NotReady, RateLimited, ServiceError, UpstreamFailed

log = logging.getLogger(__name__)

Request = TypeVar("Request", bound=ChatRequest | TextRequest)
Result = TypeVar("Result")
Chunk: TypeAlias = dict[str, Any]
Chunks: TypeAlias = AsyncGenerator[Chunk]

PASSING = (UpstreamFailed, RateLimited, NotReady)
"""What another model need not fail with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[Request]):
    """A model that may answer, and what it would be sent: parameters are read for each engine anew."""

    route: Route
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A model that did not answer, and why; one that is `skipped` was never asked."""

    model_id: str
    error: ServiceError
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Request, Result]):
    """What came, whose it is, and who had failed before."""

    candidate: Candidate[Request]
    result: Result
    tried: tuple[Tried, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[Request]):
    """The models for a request: `first`, then those that stand in, of which `skipped` by rule cannot take it."""

    first: Candidate[Request]
    others: tuple[Candidate[Request], ...] = ()
    skipped: tuple[Tried, ...] = ()

    async def answer(self, ask: Callable[[Candidate[Request]], Awaitable[Result]]) -> Answered[Request, Result]:
        """Give the first answer there is. Raises the first model's error, which says what else was tried."""
        return await self._first(lambda candidate: candidate.route.gate.answer(lambda: ask(candidate)))

    async def stream(self, ask: Callable[[Candidate[Request]], Chunks]) -> Answered[Request, Chunks]:
        """Give the first stream that says something, held back until then if another could take its place."""
        return await self._first(lambda candidate: self._begun(candidate, ask(candidate)))

    async def _first(self, ask: Callable[[Candidate[Request]], Awaitable[Result]]) -> Answered[Request, Result]:
        tried: list[Tried] = []
        for candidate in (self.first, *self.others):
            try:
                result = await ask(candidate)
            except ServiceError as exc:
                if not tried and not isinstance(exc, PASSING):
                    raise
                log.warning("model_failed model=%s code=%s", candidate.route.model_id, exc.code)
                tried.append(Tried(model_id=candidate.route.model_id, error=exc))
                continue
            if tried:
                candidate.route.gate.counts["stood_in"] += 1
            return Answered(candidate=candidate, result=result, tried=(*tried, *self.skipped))
        raise self._told(tried) from tried[-1].error

    async def _begun(self, candidate: Candidate[Request], chunks: Chunks) -> Chunks:
        passed = candidate.route.gate.stream(chunks)
        if not self.others:
            return passed
        held: list[Chunk] = []
        try:
            async for chunk in passed:
                held.append(chunk)
                if _says_something(chunk):
                    break
        except BaseException:
            await passed.aclose()
            raise
        return _resumed(held, passed)

    def _told(self, tried: Sequence[Tried]) -> ServiceError:
        """Give the first model's error, extended by what became of those that were to stand in for it."""
        first, *others = tried
        told = [f"{one.model_id!r}: {one.error}" for one in others]
        told += [f"{one.model_id!r} was skipped: {one.error}" for one in self.skipped]
        return first.error.saying(f"{first.error} Fallbacks: {' '.join(told)}") if told else first.error


def line_up(
    router: Router,
    project_id: str,
    model: str,
    request_for: Callable[[Route], Request],
    first: Candidate[Request] | None = None,
) -> Line[Request]:
    """Find the model and those that stand in for it, each with the request as it takes it. Raises as the first does."""
    if first is None:
        route = router.resolve(project_id, model)
        first = Candidate(route=route, request=request_for(route))
    others: list[Candidate[Request]] = []
    skipped: list[Tried] = []
    for name in router.fallbacks(model):
        try:
            route = router.resolve(project_id, name)
            others.append(Candidate(route=route, request=request_for(route)))
        except ServiceError as exc:
            skipped.append(Tried(model_id=name, error=exc, skipped=True))
    return Line(first=first, others=tuple(others), skipped=tuple(skipped))


async def _resumed(held: Sequence[Chunk], rest: Chunks) -> Chunks:
    async with aclosing(rest):
        for chunk in held:
            yield chunk
        async for chunk in rest:
            yield chunk


def _says_something(chunk: Mapping[str, Any]) -> bool:
    """Say whether a chunk holds more than the beginning of a message without a word."""
    return any(
        choice.get("finish_reason")
        or choice.get("text")
        or any(value for name, value in (choice.get("delta") or {}).items() if name != "role")
        for choice in chunk["choices"]
    )
