"""Raw prompts to a local model: gone on from as they are, each as if it were alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.engines.engine import TextRequest
from services.engines.local.engine import Local
from services.engines.local.loaded import Limits
from services.engines.local.models import LocalModels
from services.engines.parameters import effective_text
from services.errors import BadRequest
from tests.fakes.local import Asking
from tests.fakes.plain import Plain
from tests.fakes.tiny_model import tiny_model

PROMPTS = ["what is", "two and two", "it is four, and the answer", "never", "five", "is"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("completions") / "tiny", template=None)


@pytest.fixture(scope="module")
def engine(base: Path) -> Iterator[Local]:
    models = LocalModels(most_bases=1, most_waiting=0, limits=Limits(most_at_once=4))
    yield Asking(models).base(base)
    models.close()


def asked(prompt: Any, **params: Any) -> TextRequest:
    return TextRequest(prompt=prompt, params={"temperature": 0, "max_tokens": 8} | params)


def complete(engine: Local, prompt: Any, **params: Any) -> dict[str, Any]:
    return asyncio.run(engine.complete(asked(prompt, **params)))


def texts(answer: dict[str, Any]) -> list[str]:
    return [choice["text"] for choice in answer["choices"]]


def continued(plain: Plain, ids: list[int], tokens: int = 8) -> list[int]:
    import torch

    given = torch.tensor([ids])
    whole = plain.model.generate(
        input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False
    )
    return list(map(int, whole[0, len(ids) :]))


def test_each_prompt_of_a_list_is_gone_on_from_as_if_it_were_alone(engine: Local, base: Path) -> None:
    plain = Plain(base)
    answer = complete(engine, PROMPTS, return_token_ids=True)

    assert [choice["index"] for choice in answer["choices"]] == list(range(len(PROMPTS)))
    for prompt, choice in zip(PROMPTS, answer["choices"], strict=True):
        assert choice["prompt_token_ids"] == plain.tokenizer(prompt)["input_ids"]
        assert choice["token_ids"] == continued(plain, choice["prompt_token_ids"])
    assert answer["usage"]["prompt_tokens"] == sum(len(plain.tokenizer(prompt)["input_ids"]) for prompt in PROMPTS)


def test_tokens_are_read_as_they_are(engine: Local, base: Path) -> None:
    ids = [Plain(base).tokenizer(prompt)["input_ids"] for prompt in PROMPTS]

    assert texts(complete(engine, ids)) == texts(complete(engine, PROMPTS))
    assert texts(complete(engine, ids[0])) == texts(complete(engine, PROMPTS[0]))
    assert texts(complete(engine, None)) == texts(complete(engine, [Plain(base).tokenizer.bos_token_id]))


def test_a_prompt_is_echoed_with_the_logprobs_of_a_forward_pass(engine: Local, base: Path) -> None:
    plain, prompt = Plain(base), PROMPTS[2]
    [choice] = complete(engine, prompt, echo=True, logprobs=2, return_token_ids=True)["choices"]
    ids = [*choice["prompt_token_ids"], *choice["token_ids"]]
    expected, told = plain.logprobs(ids), choice["logprobs"]

    assert choice["text"].startswith(prompt)
    assert "".join(told["tokens"]) == choice["text"]
    assert [
        choice["text"][at:].startswith(token) for at, token in zip(told["text_offset"], told["tokens"], strict=True)
    ]
    assert (told["token_logprobs"][0], told["top_logprobs"][0]) == (None, None)
    own = [float(row[token]) for row, token in zip(expected, ids[1:], strict=False)]
    assert told["token_logprobs"][1:] == pytest.approx(own, abs=1e-4)
    for top, token, logprob in zip(told["top_logprobs"][1:], told["tokens"][1:], own, strict=True):
        # Several tokens may have one text: the likeliest of them is told.
        assert top[token] >= logprob - 1e-4
        assert 1 <= len(top) <= 3


def test_a_prompt_may_be_weighed_without_going_on(engine: Local) -> None:
    answer = complete(engine, PROMPTS[:2], echo=True, logprobs=0, max_tokens=0)

    assert texts(answer) == PROMPTS[:2]
    assert [len(choice["logprobs"]["tokens"]) for choice in answer["choices"]] == [
        len(choice["logprobs"]["token_logprobs"]) for choice in answer["choices"]
    ]
    assert answer["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n": 2, "temperature": 1.5, "seed": 3, "echo": True, "logprobs": 1},
        {"stop": ["e"], "max_tokens": 40, "temperature": 1.2, "seed": 1},
        {"max_tokens": 0, "echo": True, "logprobs": 3},
    ],
)
def test_a_stream_says_what_the_whole_says(engine: Local, params: dict[str, Any]) -> None:
    async def listen() -> list[dict[str, Any]]:
        request = asked(PROMPTS[:3], **params, stream_options={"include_usage": True})
        return [chunk async for chunk in engine.stream_text(request)]

    whole = complete(engine, PROMPTS[:3], **params)
    *chunks, last = asyncio.run(listen())
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], whole["usage"]["total_tokens"])
    for choice in whole["choices"]:
        parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert parts[-1]["finish_reason"] == choice["finish_reason"]
        for name in ("tokens", "text_offset"):
            told = [one for part in parts for one in (part["logprobs"] or {}).get(name, ())]
            assert told == (choice["logprobs"] or {}).get(name, [])


def test_the_best_are_those_whose_tokens_are_likeliest(engine: Local) -> None:
    drawn: dict[str, Any] = {"temperature": 1.5, "seed": 5, "logprobs": 0}
    all_ = complete(engine, PROMPTS[0], n=6, **drawn)["choices"]
    best = complete(engine, PROMPTS[0], n=2, best_of=6, **drawn)

    def likelihood(choice: dict[str, Any]) -> float:
        logprobs = choice["logprobs"]["token_logprobs"]
        return sum(logprobs) / len(logprobs)

    ranked = sorted(all_, key=likelihood, reverse=True)
    assert texts(best) == [choice["text"] for choice in ranked[:2]]
    assert best["usage"]["completion_tokens"] == 6 * 8


def test_a_seed_says_the_same_of_a_prompt_alone_and_in_a_list(engine: Local) -> None:
    drawn: dict[str, Any] = {"temperature": 1.5, "seed": 5}
    listed = texts(complete(engine, PROMPTS[:3], **drawn))

    assert listed == [texts(complete(engine, prompt, **drawn))[0] for prompt in PROMPTS[:3]]


def test_a_schema_is_followed_here_too(engine: Local) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}

    assert set(texts(complete(engine, PROMPTS, response_format=wanted, max_tokens=20))) <= {'"yes"', '"no"'}


@pytest.mark.parametrize(
    ("prompt", "params"),
    [
        ([4000], {}),
        (["x"] * 1025, {"n": 2}),
        ("", {"add_special_tokens": False}),
        ("x", {"suffix": "y"}),
        ("x", {"max_tokens": 5000}),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(engine: Local, prompt: Any, params: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        complete(engine, prompt, **effective_text(params, engine))

    assert refused.value.param in ("prompt", "suffix")
    assert len(texts(complete(engine, "what"))) == 1


def test_a_reader_that_goes_frees_the_model(engine: Local) -> None:
    async def main() -> dict[str, Any]:
        stream = engine.stream_text(asked(PROMPTS, max_tokens=400, logit_bias={"70": 100}))
        await anext(stream)
        await stream.aclose()
        return await asyncio.wait_for(engine.complete(asked("what")), 30)

    assert asyncio.run(main())["choices"]
