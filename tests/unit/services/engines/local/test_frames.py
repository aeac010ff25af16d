"""The form of calls, as it is found in real chat templates."""

from typing import Any

import pytest

from prompts.errors import ChatFormatError
from services.engines.local.frames import Frame, frame_of
from services.errors import BadRequest
from tests.fakes.frames import HERMES, LLAMA, MISTRAL
from tests.fakes.tokenizer import MISTRAL_TEMPLATE, template_named, tiny_tokenizer


@pytest.mark.parametrize(
    ("template", "frame"),
    [
        ("qwen2_5", HERMES),
        ("qwen3", HERMES),
        ("qwen3_instruct_2507", HERMES),
        ("llama3_1", LLAMA),
        (
            "gptoss",
            Frame(
                mark="to=functions.",
                head="",
                between="<|channel|>commentary json<|message|>",
                link=None,
                tail="<|call|>",
            ),
        ),
    ],
)
def test_the_template_shows_the_form_of_its_calls(template: str, frame: Frame) -> None:
    found = frame_of(tiny_tokenizer(template_named(template)))

    assert (found, found.short_ids) == (frame, False)


def test_ids_that_the_template_insists_on_are_noticed() -> None:
    tokenizer: Any = tiny_tokenizer(MISTRAL_TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]"]})
    found = frame_of(tokenizer)

    assert (found, found.short_ids) == (MISTRAL, True)
    assert found.single().link is None


@pytest.mark.parametrize(
    ("template", "problem"),
    [("llama3", "does not tell the model of tools"), ("gemma4", "not a name followed by JSON")],
)
def test_a_template_without_such_a_form_is_refused(template: str, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem) as refused:
        frame_of(tiny_tokenizer(template_named(template)))

    assert refused.value.param == "tools"


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(ChatFormatError, match="no chat template"):
        frame_of(tiny_tokenizer(None))
