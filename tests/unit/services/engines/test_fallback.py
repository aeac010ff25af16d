import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from services.engines.engine import ChatRequest
from services.engines.fallback import Answered, Candidate, Line, Tried
from services.engines.gate import Gate
from services.engines.router import Route
from services.errors import (
    BadRequest,
    CircuitOpen,
    NotReady,
    RateLimited,
    ServiceError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)

REQUEST = ChatRequest(messages=())
DOWN = UpstreamFailed("It is down.", code="upstream_failed")
Says = str | ServiceError


class Scripted:
    """An engine that says pieces in turn, and fails where one of them is an error."""

    name = "scripted"
    supports = frozenset[str]()

    def __init__(self, *says: Says) -> None:
        self.says = says

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        return {"said": "".join([piece["choices"][0]["delta"]["content"] async for piece in self.stream(request)])}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        for piece in self.says:
            if isinstance(piece, ServiceError):
                raise piece
            yield {"choices": [{"delta": {"role": "assistant", "content": piece}}]}


def line(models: Mapping[str, Sequence[Says]], *skipped: Tried) -> Line[ChatRequest]:
    first, *others = (
        Candidate(route=Route(model_id=name, engine=Scripted(*says), generative=True, gate=Gate(name)), request=REQUEST)
        for name, says in models.items()
    )
    return Line(first=first, others=tuple(others), skipped=skipped)


def answered(asked: Line[ChatRequest]) -> Answered[ChatRequest, dict[str, Any]]:
    return asyncio.run(asked.answer(lambda candidate: candidate.route.engine.chat(candidate.request)))


def streamed(asked: Line[ChatRequest]) -> tuple[str, str]:
    async def read() -> tuple[str, str]:
        begun = await asked.stream(lambda candidate: candidate.route.engine.stream(candidate.request))
        said = [chunk["choices"][0]["delta"]["content"] async for chunk in begun.result]
        return begun.candidate.route.model_id, "|".join(said)

    return asyncio.run(read())


@pytest.mark.parametrize(
    "error",
    [DOWN, UpstreamTimeout("x"), RateLimited("x"), NotReady("x"), CircuitOpen("x", retry_after_s=1)],
    ids=lambda error: type(error).__name__,
)
def test_another_answers_for_one_that_fails(error: ServiceError) -> None:
    asked = line({"a": [error], "b": [RateLimited("busy")], "c": ["Hi"], "d": ["Ho"]})
    found = answered(asked)

    assert (found.result, found.candidate.route.model_id) == ({"said": "Hi"}, "c")
    assert [(one.model_id, str(one.error)) for one in found.tried] == [("a", str(error)), ("b", "busy")]
    assert found.candidate.route.gate.counts == {"answered": 1, "stood_in": 1}


@pytest.mark.parametrize("error", [BadRequest("No."), UpstreamRefused("No.", status=422)])
def test_what_is_wrong_with_a_request_is_told_by_the_first(error: ServiceError) -> None:
    with pytest.raises(type(error), match=r"^No\.$"):
        answered(line({"a": [error], "b": ["Hi"]}))


def test_one_that_stands_in_may_refuse_and_the_next_is_asked() -> None:
    assert answered(line({"a": [DOWN], "b": [BadRequest("No.")], "c": ["Hi"]})).result == {"said": "Hi"}


def test_when_all_fail_the_first_error_says_what_was_tried() -> None:
    unable = Tried(model_id="c", error=BadRequest("It takes no tools."), skipped=True)
    with pytest.raises(UpstreamFailed) as failed:
        answered(line({"a": [DOWN], "b": [RateLimited("Busy.")]}, unable))

    assert str(failed.value) == "It is down. Fallbacks: 'b': Busy. 'c' was skipped: It takes no tools."
    assert (type(failed.value), failed.value.code, str(DOWN)) == (UpstreamFailed, "upstream_failed", "It is down.")


def test_without_others_an_error_is_what_it_was() -> None:
    with pytest.raises(UpstreamFailed) as failed:
        answered(line({"a": [DOWN]}))

    assert failed.value is DOWN


def test_a_stream_passes_to_another_before_its_first_word() -> None:
    assert streamed(line({"a": ["", DOWN], "b": ["", "Hi", "!"]})) == ("b", "|Hi|!")


def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    with pytest.raises(UpstreamFailed, match=r"^It is down\.$"):
        streamed(line({"a": ["", "Well", DOWN], "b": ["Hi"]}))


def test_a_stream_that_is_left_frees_its_place() -> None:
    async def leave() -> Gate:
        asked = line({"a": ["Hi", "!"], "b": []})
        begun = await asked.stream(lambda candidate: candidate.route.engine.stream(candidate.request))
        await anext(begun.result)
        assert begun.candidate.route.gate.places.taken == 1
        await begun.result.aclose()
        return begun.candidate.route.gate

    assert asyncio.run(leave()).places.taken == 0
