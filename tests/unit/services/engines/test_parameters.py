from typing import Any

import pytest
from groq.types.chat.completion_create_params import CompletionCreateParams
from openai.types import completion_create_params
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from services.engines.engine import Engine
from services.engines.extractive import Extractive
from services.engines.parameters import GROQ, HARMLESS, OPENAI, SAMPLING, TEXT, effective
from services.errors import BadRequest
from tests.fakes.embedder import WordEmbedder

OURS = {"model", "messages", "stream"}


@pytest.fixture
def extractive(templates: Any) -> Engine:
    return Extractive(WordEmbedder, templates)


def test_the_names_are_the_sdks_own() -> None:
    assert set(CompletionCreateParamsBase.__annotations__) - OURS == OPENAI
    # Groq's API takes stream_options, its SDK does not name them yet.
    assert set(CompletionCreateParams.__annotations__) - OURS == GROQ - {"stream_options"}


def test_the_names_of_text_completions_are_the_sdk_s_own() -> None:
    params = completion_create_params.CompletionCreateParamsBase
    assert set(params.__annotations__) - {"model", "prompt"} == TEXT


def test_only_known_names_are_harmless() -> None:
    assert OPENAI >= HARMLESS | SAMPLING


@pytest.mark.parametrize(
    ("name", "value"),
    [("logprobs", True), ("tools", [{}]), ("n_best", 1), ("response_format", {"type": "json_object"})],
)
def test_what_an_engine_cannot_honour_is_named(extractive: Engine, name: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=name) as refused:
        effective({name: value}, extractive)

    assert refused.value.param == name


def test_what_asks_for_nothing_is_left_out(extractive: Engine) -> None:
    given = {"logprobs": False, "tools": [], "response_format": {"type": "text"}, "logit_bias": None, "n": 2}

    assert effective(given, extractive) == {"n": 2}


def test_tools_that_may_not_be_called_are_left_out(extractive: Engine) -> None:
    assert effective({"tools": [{"type": "function"}], "tool_choice": "none"}, extractive) == {}
