"""Conversations through the chat templates of real models: the tokens, and which of them are learned."""

from typing import Any

import pytest

from prompts.chat_format import Rendered, render, template_hash, template_of
from prompts.errors import ChatFormatError
from tests.fakes.tokenizer import template_named, tiny_tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
TALK = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "First answer."},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "Grüße 🙂"},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
CALLING = [
    {"role": "user", "content": "Add."},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "3"},
    {"role": "assistant", "content": "Three."},
]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
MARKED = ["qwen2_5_training", "qwen3_training", "llama3_training", "gemma3_training", "phi3_training", "lfm2_2_5"]


def rendered(name: str, messages: list[dict[str, Any]], end: str = "<|im_end|>", **options: Any) -> Rendered:
    template = template_named(name)
    return render(messages, options.pop("tools", []), template, tiny_tokenizer(template, end=end), **options)


def learned(one: Rendered) -> list[str]:
    return [one.text[start:end] for start, end in one.spans]


@pytest.mark.parametrize(
    ("name", "end", "expected"),
    [
        ("qwen2_5", "<|im_end|>", ["First answer.<|im_end|>", "Grüße 🙂<|im_end|>"]),
        ("qwen3", "<|im_end|>", ["First answer.<|im_end|>", "<think>\n\n</think>\n\nGrüße 🙂<|im_end|>"]),
        ("llama3", "<|eot_id|>", ["First answer.<|eot_id|>", "Grüße 🙂<|eot_id|>"]),
        ("gemma", "<end_of_turn>", ["First answer.<end_of_turn>", "Grüße 🙂<end_of_turn>"]),
        ("phi3", "<|endoftext|>", ["First answer.<|end|>", "Grüße 🙂<|end|>\n<|endoftext|>"]),
    ],
)
def test_answers_and_their_stop_tokens_are_learned_and_nothing_else(name: str, end: str, expected: list[str]) -> None:
    assert learned(rendered(name, TALK, end)) == expected


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
def test_learned_tokens_decode_to_the_learned_text(name: str) -> None:
    template = template_named(name)
    tokenizer = tiny_tokenizer(template)
    one = render([SYSTEM, *TALK], [], template, tokenizer)
    kept = [token for token, mask in zip(one.token_ids, one.mask, strict=True) if mask]
    assert tokenizer.decode(kept) == "".join(learned(one))
    assert tokenizer.decode(one.token_ids) == one.text


@pytest.mark.parametrize("name", [*MARKED, "qwen2_5", "qwen3", "llama3", "gemma3", "phi3"])
def test_tokens_are_those_of_the_tokenizer_itself(name: str) -> None:
    template = template_named(name)
    tokenizer = tiny_tokenizer(template)
    reference = tokenizer.apply_chat_template(TALK, return_dict=True)
    assert render(TALK, [], template, tokenizer).token_ids == reference["input_ids"]


@pytest.mark.parametrize("name", MARKED)
def test_a_templates_own_marks_are_obeyed(name: str) -> None:
    template = template_named(name)
    tokenizer = tiny_tokenizer(template)
    reference = tokenizer.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)
    assert render(TALK, [], template, tokenizer).mask == [bool(mask) for mask in reference["assistant_masks"]]


def test_a_tool_call_is_learned_and_its_result_is_not() -> None:
    assert learned(rendered("qwen2_5", CALLING, tools=[TOOL])) == [
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>',
        "Three.<|im_end|>",
    ]


@pytest.mark.parametrize("name", ["qwen2_5", "lfm2_2_5"])
def test_only_the_answers_asked_for_are_learned(name: str) -> None:
    one = rendered(name, TALK, learned=[False, False, False, True])
    assert [text.strip() for text in learned(one)] == ["Grüße 🙂<|im_end|>"]
    assert rendered(name, TALK, learned=[False] * 4).mask == [False] * len(one.mask)


def test_a_prompt_ends_where_the_answer_begins() -> None:
    prompt, whole = rendered("qwen2_5", TALK[:3], prompt=True), rendered("qwen2_5", TALK)
    assert prompt.text == whole.text[: whole.spans[-1][0]]
    assert prompt.token_ids == whole.token_ids[: len(prompt.token_ids)]
    assert not any(prompt.mask)


def test_a_developer_is_a_system_to_a_template_that_does_not_know_it() -> None:
    as_system = rendered("qwen2_5", [SYSTEM, *TALK])
    assert rendered("qwen2_5", [{**SYSTEM, "role": "developer"}, *TALK]) == as_system


@pytest.mark.parametrize(
    ("name", "messages", "reason"),
    [
        ("gemma", [SYSTEM, *TALK], "The chat template refuses the conversation: System role not supported."),
        ("gptoss", TALK, "does not show where message 1 ends"),
        ("deepseekv3", TALK, "rewrites what comes before message 1"),
    ],
)
def test_what_cannot_be_rendered_or_told_apart_is_refused(
    name: str, messages: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(ChatFormatError, match=reason):
        rendered(name, messages)


def test_a_model_without_a_template_says_what_to_do() -> None:
    with pytest.raises(ChatFormatError, match=r"has no chat template\. Choose its instruct version"):
        template_of(tiny_tokenizer(None))


def test_of_several_templates_that_for_tools_is_chosen() -> None:
    tokenizer = tiny_tokenizer(None)
    tokenizer.chat_template = {"default": "plain", "tool_use": "with tools"}
    assert [template_of(tokenizer, tools=tools) for tools in (False, True)] == ["plain", "with tools"]


def test_a_hash_identifies_a_template() -> None:
    assert template_hash("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
