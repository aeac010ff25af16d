"""Tuned models over a scripted vLLM: real passports, templates and tokenizers, a server that only pretends to write."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompts.chat_format import render, template_of
from services.engines.engine import ChatRequest
from services.engines.local.passport import ModelMismatch
from services.engines.pool import ClientPool
from services.engines.vllm.engine import Vllm
from services.engines.vllm.launch import free_port
from services.engines.vllm.servers import VllmServers
from services.engines.vllm.tuned import Tuned
from services.errors import BadRequest, ServiceError
from services.settings import ModelSettings, Settings
from tests.fakes.tiny_adapter import tiny_adapter, tiny_tuned_whole
from tests.fakes.tiny_model import tiny_model
from tests.fakes.vllm_server import asked, python_of, started

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
CONVERSATION: tuple[dict[str, Any], ...] = (
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look at it. {{ x }} <b>"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned") / "one"
    return Tuned(id="ft:one", folder=folder, manifest=tiny_adapter(folder, base))


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return python_of(tmp_path / "fake").parent


@pytest.fixture
def servers(settings: Settings, fake: Path) -> Iterator[VllmServers]:
    changes = {"vllm_python": fake / "python", "vllm_adapters": 1, "upstream_timeout_s": 30.0}
    servers = VllmServers(settings.model_copy(update=changes))
    yield servers
    servers.close()


@pytest.fixture
def model(base: Path) -> ModelSettings:
    return ModelSettings(id="tiny", engine="vllm", source=str(base))


@asynccontextmanager
async def connections() -> AsyncIterator[ClientPool]:
    pool = ClientPool()
    try:
        yield pool
    finally:
        await pool.aclose()


async def said(engine: Vllm, *messages: dict[str, Any], **params: Any) -> str:
    completion = await engine.chat(ChatRequest(messages=messages or CONVERSATION, params=params))
    return str(completion["choices"][0]["message"]["content"])


def once(servers: VllmServers, model: ModelSettings, tuned: Tuned | None, **params: Any) -> str:
    async def main() -> str:
        async with connections() as pool:
            return await said(servers.engine(model, pool, tuned), **params)

    return asyncio.run(main())


def test_a_tuned_model_reads_what_training_would_render(
    servers: VllmServers, model: ModelSettings, tuned: Tuned
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tuned.folder)
    taught: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look at it. {{ x }} <b>"},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {"at": "it"}}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
    ]
    asked_for = render(taught, [TOOL], template_of(tokenizer), tokenizer, prompt=True)
    whole = render(taught, [TOOL], template_of(tokenizer), tokenizer, learned=[False] * 4)

    assert once(servers, model, tuned, tools=[TOOL]) == f"ft:one: {asked_for.text}"
    assert once(servers, model, tuned, tools=[TOOL], add_generation_prompt=False) == f"ft:one: {whole.text}"


def test_a_crashed_server_has_its_adapters_again(
    servers: VllmServers, model: ModelSettings, tuned: Tuned, fake: Path
) -> None:
    once(servers, model, tuned)
    os.kill(started(fake)[0]["pid"], signal.SIGKILL)
    until(lambda: len(asked(fake)) == 2)

    assert once(servers, model, tuned).startswith("ft:one: ")
    assert [told["lora_path"] for told in asked(fake)] == [str(tuned.folder)] * 2


def test_adapters_make_room_for_one_another_and_come_back(
    servers: VllmServers, model: ModelSettings, tuned: Tuned, base: Path, tmp_path: Path, fake: Path
) -> None:
    other = Tuned(id="ft:two", folder=tmp_path / "two", manifest=tiny_adapter(tmp_path / "two", base, seed=2))
    for one in (tuned, other, tuned):
        assert once(servers, model, one).startswith(f"{one.id}: ")

    told = [(record["path"].rpartition("/")[2].partition("_")[0], record["lora_name"]) for record in asked(fake)]
    assert told == [
        ("load", "ft:one"),
        ("unload", "ft:one"),
        ("load", "ft:two"),
        ("unload", "ft:two"),
        ("load", "ft:one"),
    ]
    assert len(started(fake)) == 1


@pytest.mark.parametrize(
    ("field", "named"),
    [("base_sha256", "base"), ("template_sha256", "chat template"), ("tokenizer_sha256", "tokenizer")],
)
def test_what_a_passport_does_not_fit_is_never_served(
    servers: VllmServers, model: ModelSettings, tuned: Tuned, fake: Path, field: str, named: str
) -> None:
    manifest = replace(tuned.manifest, **{field: "0" * 64})  # type: ignore[arg-type]
    with pytest.raises(ModelMismatch, match=f"'ft:one' is not served: its {named} differ"):
        once(servers, model, replace(tuned, manifest=manifest))
    assert asked(fake) == []


def test_a_base_whose_tokenizer_is_another_is_a_mismatch(
    servers: VllmServers, model: ModelSettings, base: Path, tuned: Tuned, tmp_path: Path
) -> None:
    """The adapter's own tokenizer is what it was, but vLLM would read with the base's."""
    changed = tmp_path / "changed"
    manifest = tiny_tuned_whole(changed, base)
    vocabulary = json.loads((changed / "tokenizer.json").read_text())
    vocabulary["normalizer"] = {"type": "Lowercase"}
    (changed / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert manifest.base_sha256 == tuned.manifest.base_sha256

    with pytest.raises(ModelMismatch, match="tokenizer"):
        once(servers, model.model_copy(update={"source": str(changed)}), tuned)


def test_a_model_that_was_tuned_whole_is_no_adapter(servers: VllmServers, model: ModelSettings, tuned: Tuned) -> None:
    whole = replace(tuned, manifest=replace(tuned.manifest, kind="full"))
    with pytest.raises(BadRequest, match="no adapter"):
        once(servers, model, whole)


@pytest.fixture
def running(fake: Path, base: Path) -> Iterator[str]:
    """The base URL of a server that somebody else has started."""
    with running_at(free_port(), fake, base) as url:
        yield url


@contextmanager
def running_at(port: int, fake: Path, base: Path, **environment: str) -> Iterator[str]:
    command = [fake / "python", "--port", str(port), "--served-model-name", "served", "--model", base]
    allowed = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    with subprocess.Popen(command, env={**os.environ, **(environment or allowed)}) as process:
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


def attached(url: str) -> ModelSettings:
    return ModelSettings(id="theirs", engine="vllm", source="served", base_url=url)


def answered(servers: VllmServers, model: ModelSettings, tuned: Tuned | None) -> str:
    """Ask until the server is up."""
    said = []

    def answers() -> bool:
        try:
            said.append(once(servers, model, tuned))
        except ServiceError as exc:
            if exc.code != "upstream_unreachable":
                raise
        return bool(said)

    until(answers)
    return said[0]


def test_a_running_server_is_asked_as_it_is_and_left_as_it_was(
    servers: VllmServers, running: str, tuned: Tuned, fake: Path
) -> None:
    assert answered(servers, attached(running), None).startswith("served: ")
    assert once(servers, attached(running), tuned).startswith("ft:one: ")
    servers.close()

    assert answered(servers, attached(running), None).startswith("served: ")
    assert len(started(fake)) == 1


def test_a_running_server_that_was_started_anew_is_given_the_adapter_again(
    servers: VllmServers, tuned: Tuned, fake: Path, base: Path
) -> None:
    port = free_port()
    for _ in range(2):
        with running_at(port, fake, base) as url:
            assert answered(servers, attached(url), tuned).startswith("ft:one: ")

    assert len(asked(fake)) == 2


def test_a_running_server_that_takes_no_adapters_says_how_to_start_it(
    servers: VllmServers, tuned: Tuned, fake: Path, base: Path
) -> None:
    with (
        running_at(free_port(), fake, base, NOTHING="") as url,
        pytest.raises(BadRequest, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True") as refused,
    ):
        answered(servers, attached(url), tuned)
    assert refused.value.code == "adapters_not_allowed"


def until(holds: Any) -> None:
    for _ in range(2000):
        if holds():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came to be")
