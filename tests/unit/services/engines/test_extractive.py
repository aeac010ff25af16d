import asyncio
from typing import Any

import pytest

from prompts import Templates
from rag.types import Grounding
from services.engines import extractive
from services.engines.engine import ChatRequest
from services.engines.extractive import Extractive, before_stop
from services.errors import BadRequest
from tests.fakes.embedder import WordEmbedder

ASKED = {"role": "user", "content": "one two three"}


@pytest.fixture
def engine(templates: Templates, monkeypatch: pytest.MonkeyPatch) -> Extractive:
    monkeypatch.setattr(extractive, "NO_DOCUMENTS", "Name your documents first please")
    embedder = WordEmbedder()
    return Extractive(lambda: embedder, templates)


def chat(engine: Extractive, **params: Any) -> dict[str, Any]:
    return asyncio.run(engine.chat(ChatRequest(messages=(ASKED,), params=params)))


def streamed(engine: Extractive, request: ChatRequest) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [chunk async for chunk in engine.stream(request)]

    return asyncio.run(collect())


def test_tokens_are_counted_with_the_embedder_s_tokenizer(engine: Extractive) -> None:
    assert chat(engine)["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert chat(engine, n=3)["usage"]["completion_tokens"] == 15


def test_a_limit_cuts_after_so_many_tokens(engine: Extractive) -> None:
    [choice] = chat(engine, max_completion_tokens=2)["choices"]

    assert (choice["message"]["content"], choice["finish_reason"]) == ("Name your", "length")


def test_a_limit_that_is_not_reached_changes_nothing(engine: Extractive) -> None:
    assert chat(engine, max_tokens=5)["choices"][0]["finish_reason"] == "stop"


def test_a_stream_is_the_whole_in_words(engine: Extractive) -> None:
    chunks = streamed(engine, ChatRequest(messages=(ASKED,), params={"n": 2}))

    for index in (0, 1):
        said = [one["choices"][0]["delta"]["content"] for one in chunks if one["choices"][0]["index"] == index]
        assert said == ["", "Name ", "your ", "documents ", "first ", "please"]
    assert [one["choices"][0]["finish_reason"] for one in chunks].count("stop") == 2


def test_without_sources_it_refuses(engine: Extractive) -> None:
    nothing = Grounding(question="q", sources=(), instructions="", role="system", prompt="p")
    completion = asyncio.run(engine.chat(ChatRequest(messages=(ASKED,), grounding=nothing)))

    message = completion["choices"][0]["message"]
    assert (message["content"], message["citations"]) == ("The documents do not say.", ())


def test_a_picture_is_refused_by_place(engine: Extractive) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}]

    with pytest.raises(BadRequest, match="image_url") as refused:
        asyncio.run(engine.chat(ChatRequest(messages=({"role": "user", "content": parts},))))
    assert refused.value.param == "messages[0].content"


@pytest.mark.parametrize(
    ("stop", "left"), [(None, "a b c"), ("b", "a "), (["c", "b"], "a "), (["x"], "a b c"), ("", "a b c"), ("a", "")]
)
def test_text_ends_before_the_first_stop_sequence(stop: Any, left: str) -> None:
    assert before_stop("a b c", stop) == left
