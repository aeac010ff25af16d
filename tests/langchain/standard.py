"""LangChain's standard tests of chat models, with its OpenAI client pointed at a loam that runs.

Run by `tests/acceptance/test_langchain.py` in a process and with a configuration of their own: the suite and the client
come with pytest plugins, warnings and open sockets that are no business of loam's own tests. `LOAM_BASE_URL` is where.
"""

import os
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


@pytest.fixture
def vcr() -> None:
    """The suite asks for it, and then skips the one test that would use it."""


class OfLoam(ChatModelIntegrationTests):
    """What both have in common; what a model cannot do is skipped by the suite, with its own reason."""

    model_id: str
    max_tokens: int | None = None

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.model_id,
            "base_url": os.environ["LOAM_BASE_URL"],
            "api_key": "none",
            "max_retries": 0,
            "max_tokens": self.max_tokens,
            "stream_usage": True,
        }

    @property
    def supports_model_override(self) -> bool:
        return True


class TestBeforeAnAbleModel(OfLoam):
    """A hosted model behind loam that answers as an able one would: all of it must come through as it was."""

    model_id = "able"

    @property
    def model_override_value(self) -> str:
        return "able-too"

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestLocally(OfLoam):
    """A local model of random weights: it writes no sense, and so no call with the arguments that are asked for."""

    model_id = "tiny"
    max_tokens = 24

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # Drawn at random, an answer may be of special tokens alone, and its text empty.
        return super().chat_model_params | {"temperature": 0}

    @property
    def model_override_value(self) -> str:
        return "tiny-too"

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False
