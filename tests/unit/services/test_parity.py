"""Parity asked for through the whole application, with an engine that is told what to answer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetune.parity.trace import write_traces
from services import parity
from services.api.app import create_app
from services.engines.breaker import Breaker
from services.engines.engine import ChatRequest
from services.engines.gate import Gate
from services.engines.router import Route
from services.errors import NotReady
from services.parity import prove
from services.settings import Settings
from services.storage.keys import any_live_key
from services.wiring import Services, open_services
from tests.fakes.embedder import WordEmbedder
from tests.fakes.traces import TRACE, Serving

MODEL = "ft:tiny:default::1"


class Engine:
    """Gives what `Serving` would."""

    name = "local"
    supports = frozenset(
        (
            "add_generation_prompt",
            "max_tokens",
            "prompt_logprobs",
            "repetition_penalty",
            "return_token_ids",
            "temperature",
        )
    )

    def __init__(self, serving: Serving | None = None) -> None:
        self._serving = serving

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        if self._serving is None:
            await asyncio.sleep(60)
            raise AssertionError("nobody waited")
        answer = self._serving({"messages": list(request.messages), **request.params})
        message = {"role": "assistant", "content": "a"}
        answer["choices"][0] |= {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "usage": {}, **answer}

    def stream(self, request: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        raise NotImplementedError


class Starting(Engine):
    """Refuses so many times first."""

    def __init__(self, serving: Serving, *, refusals: int) -> None:
        super().__init__(serving)
        self.refusals = refusals

    async def chat(self, request: ChatRequest) -> dict[str, Any]:
        if self.refusals:
            self.refusals -= 1
            raise NotReady("It is still starting.", code="engine_starting")
        return await super().chat(request)


class OneModel:
    """A router that knows one model, in one project."""

    def __init__(self, engine: Engine, *, open_s: float) -> None:
        self.closed = False
        gate = Gate(MODEL, breaker=Breaker(failures=5, open_s=open_s))
        self._route = Route(model_id=MODEL, engine=engine, generative=True, gate=gate)

    def resolve(self, project_id: str, model_id: str) -> Route:
        assert (project_id, model_id) == ("theirs", MODEL)
        return self._route

    def fallbacks(self, model_id: str) -> tuple[str, ...]:
        return ()

    def is_at_hand(self, model_id: str) -> bool:
        return True

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def guarded(home: Path) -> Iterator[Services]:
    """Services that ask every client for a key, of which there is none."""
    services = open_services(Settings(home=home, host="0.0.0.0", require_key=True))
    services.embedder = WordEmbedder()
    yield services
    services.close()


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    write_traces(tmp_path / "parity.jsonl", [TRACE])
    return tmp_path / "parity.jsonl"


def with_engine(services: Services, engine: Engine, *, open_s: float = 30.0) -> Services:
    services.__dict__["router"] = OneModel(engine, open_s=open_s)
    return services


def test_a_model_that_answers_as_it_was_trained_passes(guarded: Services, traces: Path) -> None:
    serving = Serving()
    services = with_engine(guarded, Engine(serving))
    found = prove(services, "theirs", MODEL, traces)
    assert found.passed, found.sentence()
    assert services.__dict__["router"].closed
    assert (found.engine, found.sequences) == ("local", 1)
    assert [body["messages"] for body in serving.asked] == [TRACE.messages, TRACE.messages[:2]]


def test_no_key_is_made_for_it_and_clients_still_need_one(guarded: Services, traces: Path) -> None:
    prove(with_engine(guarded, Engine(Serving())), "theirs", MODEL, traces)
    with guarded.database.read() as session:
        assert not any_live_key(session)

    async def asked_from_outside() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(guarded))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/v1/models", headers={"loam.project": "theirs"})

    assert asyncio.run(asked_from_outside()).status_code == 401


def test_what_differs_comes_through_the_application(guarded: Services, traces: Path) -> None:
    engine = Engine(Serving(logprobs=[-1.5, -2.0, -3.0]))
    found = prove(with_engine(guarded, engine), "theirs", MODEL, traces)
    assert [reason.code for reason in found.reasons] == ["weights"]


def test_a_model_that_is_not_there_is_a_reason_not_an_error(services: Services, traces: Path) -> None:
    found = prove(services, "default", MODEL, traces)
    assert [reason.code for reason in found.reasons] == ["unanswered"]
    assert "does not exist" in found.reasons[0].text


def test_an_engine_that_knows_none_of_it_is_a_reason(services: Services, traces: Path) -> None:
    found = prove(services, "default", "extractive", traces)
    assert "does not support 'return_token_ids'" in found.reasons[0].text


def test_an_engine_that_is_still_starting_is_asked_again(
    guarded: Services, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ASK_AGAIN_S", 0.0)
    engine = Starting(Serving(), refusals=7)  # so many that its circuit opens as well
    found = prove(with_engine(guarded, engine, open_s=0.1), "theirs", MODEL, traces)
    assert found.passed, found.sentence()
    assert engine.refusals == 0


def test_an_answer_that_never_comes_is_given_up(
    guarded: Services, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ANSWER_TIMEOUT_S", 0.01)
    found = prove(with_engine(guarded, Engine()), "theirs", MODEL, traces)
    assert [reason.code for reason in found.reasons] == ["unanswered"]
