"""A real vLLM that a real `loam serve` starts, through the official SDK; it is killed at the end, and then stopped.

It takes most of a minute until it is up, so that one is started for all, and started again for the last test but one.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import openai
import psutil
import pytest
from openai import OpenAI

from finetune.adapter import Manifest
from finetune.parity.compare import Parity
from finetune.run import tune
from finetune.tokenizer import load_tokenizer
from prompts.chat_format import render, template_of
from services.chosen_base import choose_base
from services.engines.engine import ChatRequest
from services.engines.local.passport import ModelMismatch
from services.engines.parameters import VLLM, VLLM_TEXT
from services.engines.pool import ClientPool
from services.engines.vllm.engine import Vllm
from services.engines.vllm.servers import VllmServers
from services.engines.vllm.tuned import Tuned
from services.parity import prove_again
from services.settings import ModelSettings, Settings
from services.storage.tables import DEFAULT_PROJECT
from services.storage.tuned_models import put_tuned_model
from services.wiring import Services, open_services
from tests.acceptance.serving import Server, serving
from tests.contracts import test_engine as contract
from tests.fakes.plain import Plain
from tests.fakes.real_vllm import real_vllm
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tuning_jobs import FACTS, Told, job_of, plan_of, teachable_model, write_chats

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

START_S = 600
# vLLM's attention for the CPU knows no head smaller than 32.
SHAPE: dict[str, Any] = {"hidden": 128, "max_position_embeddings": 65536}
ARGS = ["--enforce-eager", "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
HELLO: list[Any] = [{"role": "user", "content": "what is two and two?"}]
GREEDY: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
SETTINGS = """
vllm_python: {python}
vllm_args: {args}
vllm_lora_rank: 16
upstream_timeout_s: {start_s}
models:
  - {{id: tiny, engine: vllm, source: "{base}"}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teachable_model(tmp_path_factory.mktemp("vllm") / "tiny", **SHAPE)


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    python, home = real_vllm(), tmp_path_factory.mktemp("vllm-home") / "home"
    home.mkdir()
    yaml = SETTINGS.format(python=python, args=json.dumps(ARGS), start_s=START_S, base=base)
    (home / "loam.yaml").write_text(yaml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        with serving(home) as server:
            yield server


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with server.client() as client:
        yield client.with_options(timeout=START_S)


def processes_of(server: Server) -> list[psutil.Process]:
    """Give all that vLLM consists of, its keeper first."""
    return psutil.Process(server.process.pid).children(recursive=True)


def said(completion: Any) -> str:
    return completion.choices[0].message.content or ""


def running(server: Server) -> list[psutil.Process]:
    return [one for one in processes_of(server) if one.cmdline()[3:4] == ["vllm.entrypoints.openai.api_server"]]


def running_already(server: Server, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    [vllm] = running(server)
    port = vllm.cmdline()[vllm.cmdline().index("--port") + 1]
    monkeypatch.setenv("KEY_OF_THE_OTHER", vllm.environ()["VLLM_API_KEY"])
    return ModelSettings(
        id="theirs",
        engine="vllm",
        source="tiny",
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key_env="KEY_OF_THE_OTHER",
    )


class OverVllm:
    """The engine over that server, with connections for one request at a time."""

    def __init__(self, model: ModelSettings, home: Path) -> None:
        self._servers = VllmServers(Settings(home=home))
        self._model = model

    async def chat(self, asked: ChatRequest) -> dict[str, Any]:
        async with self._asking() as engine:
            return await engine.chat(asked)

    async def stream(self, asked: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        async with self._asking() as engine:
            async for chunk in engine.stream(asked):
                yield chunk

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Vllm]:
        pool = ClientPool()
        try:
            yield self._servers.engine(self._model, pool)
        finally:
            await pool.aclose()


@pytest.fixture
def subject(client: OpenAI, server: Server, monkeypatch: pytest.MonkeyPatch) -> OverVllm:
    """What the contract of all engines is held against."""
    if not running(server):
        client.chat.completions.create(model="tiny", messages=HELLO, **GREEDY)
    return OverVllm(running_already(server, monkeypatch), server.home)


# The contract of all engines, of which the rest is held to with the SDK's own words below.
test_a_call_is_made_and_its_result_is_taken = contract.test_a_call_is_made_and_its_result_is_taken
test_a_client_that_goes_frees_its_slot = contract.test_a_client_that_goes_frees_its_slot
test_json_mode_gives_an_object_or_says_that_it_was_cut = contract.test_json_mode_gives_an_object_or_says_that_it_was_cut
test_stop_strings_never_leak = contract.test_stop_strings_never_leak
test_usage_adds_up = contract.test_usage_adds_up


def test_the_first_request_starts_it_and_it_reads_by_the_model_s_own_template(client: OpenAI, base: Path) -> None:
    asked = {"return_token_ids": True, "ignore_eos": True}
    whole = client.chat.completions.create(model="tiny", messages=HELLO, extra_body=asked, **GREEDY)

    tokenizer = load_tokenizer(str(base))
    read = render(HELLO, [], template_of(tokenizer), tokenizer, prompt=True).token_ids
    found: Any = whole.to_dict()
    assert found["prompt_token_ids"] == read
    assert (found["model"], found["loam"]["engine"]) == ("tiny", "vllm")
    assert whole.usage and (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(read), 12)
    assert whole.choices[0].finish_reason == "length"


def test_a_stream_says_what_the_whole_says(client: OpenAI) -> None:
    options: dict[str, Any] = {**GREEDY, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(model="tiny", messages=HELLO, **options)
    *chunks, last = client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}, **options
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said(whole)
    assert last.usage and whole.usage and last.usage.total_tokens == whole.usage.total_tokens
    places = [chunk.choices[0].logprobs for chunk in chunks]
    told = [one for part in places if part for one in part.content or ()]
    assert whole.choices[0].logprobs and whole.choices[0].logprobs.content
    assert [one.token for one in told] == [one.token for one in whole.choices[0].logprobs.content]
    assert all(len(one.top_logprobs) == 2 for one in told)


def test_stop_seed_and_n_are_honoured(client: OpenAI) -> None:
    chat = client.chat.completions
    whole = said(chat.create(model="tiny", messages=HELLO, **GREEDY | {"max_tokens": 40}))
    stop = next(letter for letter in whole[3:] if letter not in whole[:3] and letter != "\ufffd")
    stopped = chat.create(model="tiny", messages=HELLO, stop=[stop], **GREEDY | {"max_tokens": 40})
    assert (said(stopped), stopped.choices[0].finish_reason) == (whole.partition(stop)[0], "stop")

    first, again = (
        chat.create(model="tiny", messages=HELLO, seed=5, n=2, temperature=1.5, max_tokens=12) for _ in range(2)
    )
    assert [choice.message.content for choice in first.choices] == [choice.message.content for choice in again.choices]
    assert len({choice.message.content for choice in first.choices}) == 2


def test_a_json_schema_is_kept_to(client: OpenAI) -> None:
    colours = {"type": "string", "enum": ["red", "green"]}
    schema = {
        "type": "object",
        "properties": {"colour": colours},
        "required": ["colour"],
        "additionalProperties": False,
    }
    shape: Any = {"type": "json_schema", "json_schema": {"name": "choice", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, response_format=shape, temperature=1.0, max_tokens=100
    )

    assert json.loads(said(answer))["colour"] in ("red", "green")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_that_must_be_made_fits_its_schema_and_its_result_is_taken(client: OpenAI, choice: Any) -> None:
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in contract.TOOLS}
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "tools": contract.TOOLS, "tool_choice": choice}
    asked |= {"parallel_tool_calls": False, "seed": 1, **contract.HOT}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.tool_calls
    [call] = message.tool_calls
    jsonschema_rs.validate(schemas[call.function.name] or {"maxProperties": 0}, json.loads(call.function.arguments))

    pieces = [
        piece.function
        for chunk in client.chat.completions.create(stream=True, **asked)
        for piece in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [piece.name for piece in pieces if piece.name] == [call.function.name]
    # As it was written; the whole answer has it with spaces.
    assert json.loads("".join(piece.arguments or "" for piece in pieces)) == json.loads(call.function.arguments)

    result = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    asked |= {"messages": [*HELLO, message, result], "tool_choice": "auto", "max_tokens": 4}
    answer = client.chat.completions.create(**asked)
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_raw_prompts_are_gone_on_from_as_text_and_as_tokens(client: OpenAI, base: Path) -> None:
    ids = load_tokenizer(str(base))("once upon", add_special_tokens=False)["input_ids"]
    create = client.completions.create
    text = create(model="tiny", prompt="once upon", echo=True, logprobs=1, **GREEDY)
    tokens = create(model="tiny", prompt=ids, **GREEDY)
    streamed = create(model="tiny", prompt="once upon", stream=True, **GREEDY)

    assert text.choices[0].text == "once upon" + tokens.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == tokens.choices[0].text


def test_logprobs_are_those_of_a_forward_pass(subject: OverVllm, base: Path) -> None:
    plain = Plain(base)
    answer = contract.ask(subject, max_tokens=6, logprobs=True, top_logprobs=3, return_token_ids=True)
    ids, content = answer["choices"][0]["token_ids"], answer["choices"][0]["logprobs"]["content"]
    expected = plain.logprobs([*plain.prompt(), *ids])[len(plain.prompt()) - 1 : -1]
    for token, said, row in zip(ids, content, expected, strict=True):
        assert said["logprob"] == pytest.approx(float(row[token]), abs=1e-4)
        found = [one["logprob"] for one in said["top_logprobs"]]
        assert found == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_tokens": 70_000}, "65536"),
        ({"extra_body": {"best_of": 2}}, "best_of"),
    ],
)
def test_what_it_cannot_do_is_refused(client: OpenAI, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said):
        client.chat.completions.create(model="tiny", messages=HELLO, **{**GREEDY, **changes})


@pytest.mark.parametrize(
    ("place", "names"), [("chat_completion", VLLM), ("completion", VLLM_TEXT)], ids=["chat", "completions"]
)
def test_every_parameter_that_is_passed_on_is_one_that_it_knows(place: str, names: frozenset[str]) -> None:
    """It takes what it does not know without a word."""
    [protocol] = real_vllm().parents[1].glob(f"lib/python*/site-packages/vllm/entrypoints/openai/{place}/protocol.py")
    known = set(re.findall(r"^    (\w+): ", protocol.read_text(encoding="utf-8"), re.MULTILINE))

    assert names - known == set()


@pytest.fixture(scope="module")
def taught(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """An adapter that was trained over the base in NF4."""
    return tuned(base, tmp_path_factory.mktemp("taught"), "taught", quantization="nf4", n_epochs=20)


def tuned(base: Path, folder: Path, name: str, **tuning: Any) -> Tuned:
    job = job_of(
        folder / "job", base, write_chats(folder / "training.jsonl", times=4), batch_size=4, learning_rate=5e-3,
        lora={"r": 16}, checkpoint_steps=100, job={"plan": plan_of(4, 1)}, **tuning,
    )  # fmt: skip
    outcome = tune(job, Told(), lambda: None)
    assert outcome.folder is not None
    return Tuned(id=f"ft:tiny:default:{name}:1", folder=outcome.folder, manifest=Manifest.read(outcome.folder))


@pytest.fixture(scope="module")
def other(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("other") / "model"
    return Tuned(id="ft:tiny:default:other:2", folder=folder, manifest=tiny_adapter(folder, base))


@asynccontextmanager
async def attached(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Tuned], Vllm]]:
    """Give engines over the server that loam has started, as one that runs already."""
    model = running_already(server, monkeypatch)
    servers, pool = VllmServers(Settings(home=server.home)), ClientPool()
    try:
        yield lambda tuned: servers.engine(model, pool, tuned)
    finally:
        await pool.aclose()


def test_adapters_trained_over_nf4_answer_beside_one_another(
    server: Server, taught: Tuned, other: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    [question, answer] = next(iter(FACTS.items()))
    messages = ({"role": "user", "content": question},)
    request = ChatRequest(messages=messages, params={"max_tokens": 48, "temperature": 0, "return_token_ids": True})

    async def main() -> list[dict[str, Any]]:
        async with attached(server, monkeypatch) as engine:
            return await asyncio.gather(*(engine(one).chat(request) for one in (taught, other) * 4))

    answers = asyncio.run(main())
    texts = [completion["choices"][0]["message"]["content"] for completion in answers]
    assert [text.rpartition("\n")[2] for text in texts[::2]] == [answer] * 4
    assert answer not in texts[1] and len(set(texts[1::2])) == 1
    tokenizer = load_tokenizer(str(taught.folder))
    trained_on = render(messages, [], template_of(tokenizer), tokenizer, prompt=True).token_ids
    assert all(completion["prompt_token_ids"] == trained_on for completion in answers)


@pytest.fixture
def beside(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Another loam that attaches to the vLLM server."""
    services = open_services(Settings(home=home, models=(running_already(server, monkeypatch),)))
    yield services
    services.close()


def proved_over_vllm(services: Services, tuned: Tuned) -> Parity:
    with services.database.write() as session:
        put_tuned_model(session, DEFAULT_PROJECT, tuned.id, parent="tiny", folder=tuned.folder, manifest=tuned.manifest)
    choose_base(services, DEFAULT_PROJECT, tuned.id, "theirs")
    parity = prove_again(services, DEFAULT_PROJECT, tuned.id)
    assert parity is not None
    assert (parity.engine, parity.over, parity.identical) == ("vllm", "theirs", parity.sequences)
    return parity


def test_parity_holds_of_a_model_that_was_trained_over_what_is_served(
    beside: Services, base: Path, tmp_path: Path
) -> None:
    parity = proved_over_vllm(beside, tuned(base, tmp_path, "plain", quantization="none", n_epochs=4))
    assert parity.passed, parity.sentence()
    assert parity.kl_per_token is not None
    assert parity.kl_per_token < 1e-6


def test_parity_tells_the_error_of_quantization_of_one_that_was_trained_over_nf4(
    beside: Services, taught: Tuned
) -> None:
    parity = proved_over_vllm(beside, taught)
    assert [reason.code for reason in parity.reasons] == ["quantization"]
    assert parity.kl_per_token is not None
    assert parity.kl_per_token > 1e-6


def test_an_adapter_of_another_base_is_never_served(
    server: Server, other: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = replace(other, id="ft:forged", manifest=replace(other.manifest, base_sha256="0" * 64))

    async def main() -> None:
        async with attached(server, monkeypatch) as engine:
            with pytest.raises(ModelMismatch, match="its base differ"):
                await engine(forged).chat(ChatRequest(messages=tuple(HELLO)))

    asyncio.run(main())


def known_to(server: Server, tuned: Tuned) -> None:
    """Let a loam know a tuned model as one of its own."""
    services = open_services(Settings(home=server.home))
    with services.database.write() as session:
        put_tuned_model(session, DEFAULT_PROJECT, tuned.id, parent="tiny", folder=tuned.folder, manifest=tuned.manifest)
    services.close()


def names_on(vllm: ModelSettings, key: str) -> list[str]:
    with OpenAI(base_url=vllm.base_url, api_key=key, max_retries=0) as client:
        return [model.id for model in client.models.list()]


def test_killed_in_mid_stream_it_fails_at_once_and_comes_back_with_its_adapters(
    client: OpenAI, server: Server, other: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = replace(other, id="ft:tiny:default:brought-back:3")
    known_to(server, tuned)
    before = [said(client.chat.completions.create(model=name, messages=HELLO, **GREEDY)) for name in ("tiny", tuned.id)]
    old = processes_of(server)
    stream = client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, max_tokens=60_000, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    [asked] = running(server)
    # Behind the process that is asked is the one that writes.
    behind = asked.children(recursive=True)
    assert behind
    for process in behind:
        process.kill()
    psutil.wait_procs(behind, 10)
    heard = []
    with pytest.raises(openai.APIError, match="vllm"):
        for chunk in stream:
            heard.append(chunk)
        pytest.fail(f"It ended as if nothing had been: {len(heard)} chunks, the last {heard[-1:]}.")

    after = said(client.chat.completions.create(model="tiny", messages=HELLO, **GREEDY))
    assert tuned.id in names_on(running_already(server, monkeypatch), os.environ["KEY_OF_THE_OTHER"])
    assert [after, said(client.chat.completions.create(model=tuned.id, messages=HELLO, **GREEDY))] == before
    assert not [process for process in old if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_nothing_of_it_is_left_when_loam_ends(server: Server) -> None:
    processes = processes_of(server)
    assert len(processes) > 2
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0

    deadline = time.monotonic() + 20
    while left := [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, f"left: {left}"
        os.sched_yield()
