"""Forms of answers by local models through the official SDK: JSON, calls of functions, raw prompts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.acceptance.serving import Server, serving
from tests.fakes.tiny_model import tiny_model

pytestmark = pytest.mark.acceptance

HELLO: list[Any] = [{"role": "user", "content": "what is two and two?"}]
HOT: dict[str, Any] = {"temperature": 1.5, "seed": 1, "max_tokens": 600}
SETTINGS = """
models:
  - {{id: tiny, engine: local, source: "{folder}/tiny"}}
  - {{id: plain, engine: local, source: "{folder}/plain"}}
"""


class Weather(BaseModel):
    city: Literal["Oslo", "Rome"]
    days: int


TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": Weather.model_json_schema() | {"additionalProperties": False}},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny", max_position_embeddings=4096)
    tiny_model(folder / "plain", template=None)
    home: Path = tmp_path_factory.mktemp("forms") / "home"
    home.mkdir()
    (home / "loam.yaml").write_text(SETTINGS.format(folder=folder))
    with serving(home) as server, Server.client(server) as client:
        yield client


def test_an_answer_is_parsed_into_a_model(client: OpenAI) -> None:
    completion = client.chat.completions.parse(model="tiny", messages=HELLO, response_format=Weather, **HOT)

    assert completion.choices[0].finish_reason == "stop"
    assert isinstance(completion.choices[0].message.parsed, Weather)


def test_a_response_is_parsed_into_a_model(client: OpenAI) -> None:
    response = client.responses.parse(
        model="tiny", input="hi", text_format=Weather, temperature=1.5, max_output_tokens=600
    )

    assert isinstance(response.output_parsed, Weather)


def test_a_schema_that_cannot_be_followed_is_refused_in_the_words_of_its_endpoint(client: OpenAI) -> None:
    form: Any = {"type": "json_schema", "name": "x", "schema": {"not": {}}}
    with pytest.raises(openai.BadRequestError, match='"not"') as refused:
        client.responses.create(model="tiny", input="hi", text={"format": form})

    assert refused.value.param == "text.format"


def test_a_call_its_result_and_the_answer(client: OpenAI) -> None:
    first = client.chat.completions.create(
        model="tiny", messages=HELLO, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, **HOT
    ).choices[0]
    assert (first.finish_reason, first.message.content) == ("tool_calls", None)
    assert first.message.tool_calls
    [call] = first.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, bool(Weather.model_validate_json(call.function.arguments))) == ("weather", True)

    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    then = client.chat.completions.create(
        model="tiny",
        messages=[*HELLO, first.message, result],
        tools=[TOOL],
        max_tokens=4,
        temperature=0,  # type: ignore[list-item]
    )
    assert then.usage and then.usage.completion_tokens == 4


def test_a_stream_of_calls_is_put_together_by_the_sdk(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "tools": [TOOL], "tool_choice": "required", **HOT}
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]
    whole = client.chat.completions.create(**asked).choices[0]

    assert streamed.message.tool_calls and whole.message.tool_calls
    told = [call.function.arguments for call in streamed.message.tool_calls]
    assert told == [call.function.arguments for call in whole.message.tool_calls if call.type == "function"]
    assert streamed.finish_reason == whole.finish_reason == "tool_calls"


def test_responses_make_calls_and_take_their_results(client: OpenAI) -> None:
    tool: Any = {"type": "function", **TOOL["function"], "strict": True}
    options: dict[str, Any] = {"model": "tiny", "tools": [tool], "temperature": 1.5, "max_output_tokens": 600}
    first = client.responses.create(input="hi", tool_choice="required", parallel_tool_calls=False, **options)
    [call] = [item for item in first.output if item.type == "function_call"]
    assert Weather.model_validate_json(call.arguments)

    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}]
    then = client.responses.create(
        input=result, previous_response_id=first.id, **options | {"max_output_tokens": 3, "tool_choice": "none"}
    )
    assert then.usage and 1 <= then.usage.output_tokens <= 3


def test_raw_prompts_are_gone_on_from(client: OpenAI) -> None:
    options: dict[str, Any] = {"model": "plain", "temperature": 0, "max_tokens": 6, "echo": True, "logprobs": 2}
    whole = client.completions.create(prompt=["what is", "it is"], **options)
    chunks = list(client.completions.create(prompt=["what is", "it is"], stream=True, **options))

    assert [choice.text[:5] for choice in whole.choices] == ["what ", "it is"]
    for choice in whole.choices:
        parts = [part.choices[0].text for part in chunks if part.choices[0].index == choice.index]
        assert "".join(parts) == choice.text
        assert choice.logprobs and choice.logprobs.tokens and "".join(choice.logprobs.tokens).startswith(choice.text)
    assert whole.usage and whole.usage.completion_tokens == 12
    assert json.loads(whole.to_json())["loam"]["engine"] == "local"


def test_a_suffix_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="plain", prompt="x", suffix="y")

    assert refused.value.param == "suffix"
