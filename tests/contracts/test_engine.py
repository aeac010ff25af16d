"""What every engine owes its callers, run over a local model and over a hosted one.

The hosted engine's upstream says what the local model says: what it forwards must be that, field for field.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jsonschema_rs
import pytest

from services.engines.engine import ChatRequest
from services.engines.hosted import Hosted
from services.engines.hosted import Upstream as Settings
from services.engines.local.engine import Local
from services.engines.local.loaded import Limits
from services.engines.local.models import LocalModels
from services.engines.local.request import SUPPORTS
from services.engines.pool import ClientPool
from tests.fakes.local import QUESTION, Asking, request
from tests.fakes.plain import Plain
from tests.fakes.tiny_model import tiny_model
from tests.fakes.upstream import SSE, Reply, Upstream

HOT: dict[str, Any] = {"temperature": 1.5, "max_tokens": 600}
CUT_EVERY = 97
SLOTS = 8
SEEDS = range(4)
WEATHER = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 14}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now"}},
]
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
DATE = {"at": {"type": "string", "format": "date"}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "weather": WEATHER,
    "list": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 4},
    "word": {"enum": ["yes", "no", 3, None, {"a": [1]}]},
    "pattern": {"type": "string", "pattern": "^[a-c]{2,5}-[0-9]+$", "maxLength": 9},
    "date": {"type": "object", "properties": DATE, "required": ["at"], "additionalProperties": False},
    "nested": {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}]},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "properties": {"a": {"type": "null"}}},
    "kinds": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": kind}, "x": {"type": ["integer", "null"]}},
                "required": ["kind", "x"],
                "additionalProperties": False,
            }
            for kind in ("p", "q")
        ]
    },
}


class Subject(Protocol):
    """An engine under test."""

    async def chat(self, asked: ChatRequest) -> dict[str, Any]: ...

    def stream(self, asked: ChatRequest) -> AsyncGenerator[dict[str, Any]]: ...


class Scripted:
    """A hosted engine whose upstream answers each request as a local model does."""

    def __init__(self, local: Local, upstream: Upstream) -> None:
        self._local = local
        self._upstream = upstream

    async def chat(self, asked: ChatRequest) -> dict[str, Any]:
        said = await self._local.chat(asked)
        self._upstream.script(Reply(pieces=[json.dumps({"id": "x", "model": "m", **said}).encode()]))
        pool = ClientPool()
        try:
            return await self._hosted(pool).chat(asked)
        finally:
            await pool.aclose()

    async def stream(self, asked: ChatRequest) -> AsyncGenerator[dict[str, Any]]:
        chunks = [json.dumps(chunk) async for chunk in self._local.stream(asked)]
        events = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()
        pieces = [events[start : start + CUT_EVERY] for start in range(0, len(events), CUT_EVERY)]
        self._upstream.script(Reply(headers=SSE, pieces=pieces))
        pool = ClientPool()
        try:
            async for chunk in self._hosted(pool).stream(asked):
                yield chunk
        finally:
            await pool.aclose()

    def _hosted(self, pool: ClientPool) -> Hosted:
        settings = Settings(
            engine="openai", url=f"{self._upstream.url}/v1/chat/completions", model="m", key=None, key_hint="",
            timeout_s=30, retries=0, supports=SUPPORTS, forwards=SUPPORTS,
        )  # fmt: skip
        return Hosted(settings, pool)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("engine") / "tiny", max_position_embeddings=4096)


@pytest.fixture(scope="module")
def local(base: Path) -> Iterator[Local]:
    models = LocalModels(most_bases=1, most_waiting=100, limits=Limits(most_at_once=SLOTS))
    yield Asking(models).base(base)
    models.close()


@pytest.fixture(scope="module", params=["local", "hosted"])
def subject(request: pytest.FixtureRequest, local: Local) -> Iterator[Subject]:
    if request.param == "local":
        yield local
        return
    upstream = Upstream()
    yield Scripted(local, upstream)
    upstream.close()


def ask(subject: Subject, *messages: dict[str, Any], **params: Any) -> dict[str, Any]:
    return asyncio.run(subject.chat(request(*messages, **params)))


def listen(subject: Subject, *messages: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    async def main() -> list[dict[str, Any]]:
        return [chunk async for chunk in subject.stream(request(*messages, **params))]

    return asyncio.run(main())


def assembled(parts: list[dict[str, Any]]) -> tuple[str, list[tuple[str, str]]]:
    """Give the content and the calls that the deltas of one choice come to."""
    calls: dict[int, list[str]] = {}
    for call in (call for part in parts for call in part["delta"].get("tool_calls", ())):
        known = calls.setdefault(call["index"], ["", ""])
        assert bool(call.get("id")) == (known == ["", ""]), "only the first piece of a call has its id"
        known[0] += call["function"].get("name") or ""
        known[1] += call["function"]["arguments"]
    content = "".join(part["delta"].get("content") or "" for part in parts)
    return content, [(name, arguments) for name, arguments in calls.values()]


def called(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", ())]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"seed": 7, "temperature": 1.3, "top_p": 0.9, "logprobs": True, "top_logprobs": 2, "return_token_ids": True},
        {"seed": 8, "temperature": 1, "n": 3, "presence_penalty": 1.5},
        {"seed": 9, "temperature": 2, "max_tokens": 200, "stop": ["a", "e", "o", "x1"]},
        {"stop": "\ufffd", "logprobs": True, "return_token_ids": True, "max_tokens": 30},
        {"seed": 1, **HOT, "response_format": AS_SCHEMA},
        {"seed": 1, **HOT, "tools": TOOLS, "tool_choice": "required", "n": 2, "logprobs": True},
        {"seed": 2, "temperature": 1.5, "max_tokens": 40, "tools": TOOLS, "tool_choice": "required"},
        {"seed": 3, "temperature": 1.5, "max_tokens": 25, "tools": TOOLS},
    ],
)
def test_a_stream_says_what_the_whole_says(subject: Subject, params: dict[str, Any]) -> None:
    whole = ask(subject, **params)
    *chunks, last = listen(subject, **params, stream_options={"include_usage": True})

    counted = {name: count for name, count in whole["usage"].items() if name != "prompt_tokens_details"}
    assert (last["choices"], {name: last["usage"][name] for name in counted}) == ([], counted)
    for choice in whole["choices"]:
        parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        message = choice["message"]
        assert assembled(parts) == (message["content"] or "", called(message))
        assert [part["finish_reason"] for part in parts[-2:]] == [None, choice["finish_reason"]]
        assert [token for part in parts for token in part.get("token_ids", ())] == choice.get("token_ids", [])
        told = [one for part in parts for one in (part["logprobs"] or {}).get("content", ())]
        known = (choice["logprobs"] or {}).get("content", [])
        assert [one["token"] for one in told] == [one["token"] for one in known]
        # The second answer goes on from what the first had read, where sums are rounded otherwise.
        assert [one["logprob"] for one in told] == pytest.approx([one["logprob"] for one in known], abs=1e-4)


def test_usage_adds_up(subject: Subject) -> None:
    answer = ask(subject, n=2, **HOT | {"max_tokens": 9}, return_token_ids=True)
    usage = answer["usage"]

    assert usage["completion_tokens"] == sum(len(choice["token_ids"]) for choice in answer["choices"])
    assert usage["prompt_tokens"] == len(answer["prompt_token_ids"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_stop_strings_never_leak(subject: Subject) -> None:
    stops = ["a", "e", "four", "?"]
    for seed in SEEDS:
        chunks = listen(subject, seed=seed, temperature=2, max_tokens=60, stop=stops)
        content, _ = assembled([part for chunk in chunks for part in chunk["choices"]])
        assert not any(stop in content for stop in stops)


def test_a_seed_repeats_and_choices_differ(subject: Subject) -> None:
    sampled: dict[str, Any] = {"temperature": 1.5, "n": 2, "seed": 2**70, "max_tokens": 20}
    first, second = (ask(subject, **sampled)["choices"] for _ in range(2))
    other = ask(subject, **sampled | {"seed": 4})["choices"]

    assert first == second
    assert len({choice["message"]["content"] for choice in (*first, *other)}) == 4


def test_a_client_that_goes_frees_its_slot(subject: Subject) -> None:
    async def main() -> dict[str, Any]:
        for _ in range(SLOTS + 1):
            stream = subject.stream(request(max_tokens=60, logit_bias={"70": 100}))
            await anext(stream)
            await stream.aclose()
        return await asyncio.wait_for(subject.chat(request()), 60)

    assert asyncio.run(main())["choices"][0]["finish_reason"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_follows_a_schema_validates_whatever_is_drawn(local: Local, name: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": name, "schema": SCHEMAS[name], "strict": True}}

    async def main() -> list[dict[str, Any]]:
        asked = (request(response_format=wanted, seed=seed, n=2, **HOT) for seed in SEEDS)
        return list(await asyncio.gather(*(local.chat(one) for one in asked)))

    choices = [choice for answer in asyncio.run(main()) for choice in answer["choices"]]
    ended = [choice["message"]["content"] for choice in choices if choice["finish_reason"] == "stop"]
    assert len(ended) >= len(choices) // 2
    for content in ended:
        jsonschema_rs.validate(SCHEMAS[name], json.loads(content))


def test_json_mode_gives_an_object_or_says_that_it_was_cut(subject: Subject) -> None:
    for seed in SEEDS:
        answer = ask(subject, response_format={"type": "json_object"}, seed=seed, **HOT | {"max_tokens": 60})
        [choice] = answer["choices"]
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)
        else:
            assert choice["finish_reason"] == "length"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_is_made_and_its_result_is_taken(subject: Subject, choice: Any) -> None:
    offered: dict[str, Any] = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False}
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in TOOLS}
    # In OpenAI's API a call that was named ends with `stop`; some say `tool_calls` all the same.
    ends = {"tool_calls"} if choice == "required" else {"tool_calls", "stop"}
    for seed in SEEDS:
        [answered] = ask(subject, seed=seed, **HOT, **offered)["choices"]
        message = answered["message"]
        [call] = message["tool_calls"]
        assert answered["finish_reason"] in ends
        assert not message["content"]
        arguments = json.loads(call["function"]["arguments"])
        jsonschema_rs.validate(schemas[call["function"]["name"]] or {"maxProperties": 0}, arguments)

    result = {"role": "tool", "tool_call_id": call["id"], "content": "Rain."}
    assert ask(subject, QUESTION, message, result, tools=TOOLS, max_tokens=4)["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("held", [{}, {"response_format": {"type": "json_object"}}])
def test_logprobs_are_those_of_a_forward_pass(subject: Subject, base: Path, held: dict[str, Any]) -> None:
    """Also where an answer is held to a form they are the model's own."""
    plain = Plain(base)
    answer = ask(subject, max_tokens=6, logprobs=True, top_logprobs=3, return_token_ids=True, **held)
    ids, content = answer["choices"][0]["token_ids"], answer["choices"][0]["logprobs"]["content"]
    expected = plain.logprobs([*plain.prompt(), *ids])[len(plain.prompt()) - 1 : -1]

    for token, said, row in zip(ids, content, expected, strict=True):
        assert said["logprob"] == pytest.approx(float(row[token]), abs=1e-4)
        best = row.topk(3)
        assert [one["logprob"] for one in said["top_logprobs"]] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert said["top_logprobs"][0]["token"] == plain.tokenizer.decode([int(best.indices[0])])
