"""The engine over a scripted vLLM, which runs as a process, crashes as one, and is started again."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from services.engines.engine import ChatRequest, TextRequest
from services.engines.pool import ClientPool
from services.engines.vllm.engine import Vllm
from services.engines.vllm.servers import VllmServers
from services.errors import BadRequest, NotReady, UpstreamFailed
from services.settings import ModelSettings, Settings
from tests.fakes.vllm_server import started

Result = TypeVar("Result")


def saying(text: str, **params: Any) -> ChatRequest:
    return ChatRequest(messages=({"role": "user", "content": text},), params=params)


def asking(
    servers: VllmServers, model: ModelSettings, work: Callable[[Vllm], Awaitable[Result]], *, within_s: float = 20.0
) -> Result:
    """Do something with the engine, in a loop of its own."""

    async def main() -> Result:
        pool = ClientPool()
        try:
            return await asyncio.wait_for(work(servers.engine(model, pool)), within_s)
        finally:
            await pool.aclose()

    return asyncio.run(main())


async def said(engine: Vllm, text: str = "hello") -> str:
    completion = await engine.chat(saying(text))
    return str(completion["choices"][0]["message"]["content"])


async def streamed(engine: Vllm, text: str, heard: list[str]) -> None:
    async for chunk in engine.stream(saying(text)):
        heard.append(chunk["choices"][0]["delta"].get("content", ""))


def test_a_server_starts_with_the_first_request_and_serves_all_that_follow(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    async def work(engine: Vllm) -> tuple[list[str], list[str], str]:
        assert started(fake) == []
        heard: list[str] = []
        whole = await asyncio.gather(*(said(engine) for _ in range(4)))
        await streamed(engine, "hello", heard)
        text = await engine.complete(TextRequest(prompt="once"))
        return whole, heard, text["choices"][0]["text"]

    whole, heard, text = asking(servers, model, work)
    assert (whole, "".join(heard), text) == (["tiny: hello"] * 4, "tiny: hello", "tiny: once")
    assert len(started(fake)) == 1


def test_a_request_in_flight_when_the_server_crashes_fails_and_the_next_is_answered(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    async def work(engine: Vllm) -> str:
        with pytest.raises(UpstreamFailed) as failed:
            await said(engine, "crash")
        assert (failed.value.status, failed.value.code) == (502, "upstream_interrupted")
        return await said(engine)

    assert asking(servers, model, work) == "tiny: hello"
    assert len(started(fake)) == 2


def test_a_stream_that_a_crash_cuts_ends_with_an_error(servers: VllmServers, model: ModelSettings) -> None:
    heard: list[str] = []

    async def work(engine: Vllm) -> None:
        with pytest.raises(UpstreamFailed):
            await streamed(engine, "crash halfway", heard)

    asking(servers, model, work)
    assert heard == ["tiny: crash halfway"]


def test_a_server_whose_engine_has_died_is_ended_and_started_again(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    async def work(engine: Vllm) -> str:
        with pytest.raises(UpstreamFailed):
            await said(engine, "die")
        await asyncio.to_thread(until, lambda: len(started(fake)) == 2)
        return await said(engine)

    assert asking(servers, model, work) == "tiny: hello"
    assert not is_alive(started(fake)[0]["pid"])


def test_a_server_that_does_not_start_says_why_to_all_and_is_not_tried_at_once(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    (fake / "broken").touch()

    async def work(engine: Vllm) -> None:
        found = await asyncio.gather(*(said(engine) for _ in range(3)), return_exceptions=True)
        found.append(await asyncio.gather(said(engine), return_exceptions=True))
        for error in (*found[:3], *found[3]):
            assert isinstance(error, NotReady)
            assert "no room for the weights" in str(error) and "tiny.log" in str(error)

    asking(servers, model, work)
    assert len(started(fake)) == 1


def test_who_waits_too_long_is_told_so_and_the_start_goes_on(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    (fake / "slow").touch()
    hasty = model.model_copy(update={"timeout_s": 0.3})

    async def work(engine: Vllm) -> None:
        with pytest.raises(NotReady, match="being started") as late:
            await said(engine)
        assert late.value.status == 503

    asking(servers, hasty, work)
    assert len(started(fake)) <= 1


def test_closing_ends_every_process(vllm_settings: Settings, model: ModelSettings, fake: Path) -> None:
    servers = VllmServers(vllm_settings)
    asking(servers, model, said)
    servers.close()

    assert not is_alive(started(fake)[0]["pid"])


def test_a_server_ends_with_its_keeper_and_another_takes_its_place(
    servers: VllmServers, model: ModelSettings, fake: Path
) -> None:
    async def work(engine: Vllm) -> str:
        await said(engine)
        keeper = os.getpgid(started(fake)[0]["pid"])
        os.kill(keeper, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: len(started(fake)) == 2)
        assert not is_alive(started(fake)[0]["pid"])
        return await said(engine)

    assert asking(servers, model, work) == "tiny: hello"


def test_a_server_is_started_with_what_the_settings_say(
    vllm_settings: Settings, model: ModelSettings, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    changed = vllm_settings.model_copy(update={"vllm_args": ("--enforce-eager",), "vllm_lora_rank": 20})
    servers = VllmServers(changed)
    asking(servers, model.model_copy(update={"args": ("--max-model-len", "64")}), said)
    servers.close()

    [start] = started(fake)
    line = " ".join(start["args"])
    assert line.startswith("-P -m vllm.entrypoints.openai.api_server --host 127.0.0.1")
    assert line.endswith("--enforce-eager --max-model-len 64")
    assert "--max-lora-rank 32 --max-loras 4" in line and "--dtype float32" in line
    assert start["environment"].keys() >= {"VLLM_API_KEY", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"}
    assert start["environment"]["VLLM_API_KEY"] not in line
    assert "GROQ_API_KEY" not in start["environment"]


def test_without_a_vllm_the_error_says_what_to_do(settings: Settings, model: ModelSettings) -> None:
    for python in (None, Path("/nowhere/python")):
        servers = VllmServers(settings.model_copy(update={"vllm_python": python}))
        with pytest.raises(BadRequest, match="Run 'make vllm' and set LOAM_VLLM_PYTHON") as refused:
            servers.engine(model, ClientPool())
        assert refused.value.code == "engine_not_configured"


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
