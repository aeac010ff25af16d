"""Modelfiles of models with the chat templates of real ones.

The expected Go templates were run by Go's own text/template once: they give what the chat templates give.
"""

import pytest

from finetune.export.frames import frames_of
from finetune.export.ollama import BOS_ADDED, GIVEN, MISSING, NO_SYSTEM, modelfile
from prompts.chat_format import render
from tests.fakes.tokenizer import template_named, tiny_tokenizer

CHATML = f"""\
FROM .

{GIVEN}
TEMPLATE \"\"\"{{{{ range $place, $_ := .Messages }}}}{{{{ if eq .Role "system" }}}}<|im_start|>system
{{{{ .Content }}}}<|im_end|>
{{{{ else if eq .Role "user" }}}}<|im_start|>user
{{{{ .Content }}}}<|im_end|>
{{{{ else if eq .Role "assistant" }}}}<|im_start|>assistant
{{{{ .Content }}}}<|im_end|>
{{{{ end }}}}{{{{ end }}}}<|im_start|>assistant
\"\"\"

PARAMETER stop "<|im_end|>"
"""


def written(template: str, *, end: str = "<|im_end|>", adds_bos: bool = False) -> str:
    return modelfile(tiny_tokenizer(template, end=end), ends=[end, end], adds_bos=adds_bos)


def test_chatml_is_said_in_gos_words() -> None:
    assert written(template_named("qwen3")) == CHATML


def test_a_default_system_message_is_written_where_none_is_sent() -> None:
    assert (
        "{{ if not .System }}<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n{{ end }}{{ range"
    ) in written(template_named("qwen2_5"))


def test_a_system_message_within_the_users_is_written_there() -> None:
    assert (
        '{{ if eq .Role "user" }}<start_of_turn>user\n{{ if and $.System (eq $place 1) }}{{ $.System }}\n\n{{ end }}'
        "{{ .Content }}<end_of_turn>\n"
    ) in written(template_named("gemma3"), end="<end_of_turn>")


def test_a_template_that_refuses_system_messages_says_so() -> None:
    found = written(template_named("gemma"), end="<end_of_turn>")
    assert NO_SYSTEM in found
    assert "system" not in found.partition("TEMPLATE")[2]


def test_a_bos_token_is_written_unless_ollama_writes_it() -> None:
    llama = template_named("llama3")
    assert 'TEMPLATE """<s>{{ range' in written(llama, end="<|eot_id|>")
    assert 'TEMPLATE """{{ range' in written(llama, end="<|eot_id|>", adds_bos=True)


def test_a_bos_token_that_only_ollama_would_write_is_warned_of() -> None:
    assert BOS_ADDED.format(bos="<s>") in written(template_named("qwen3"), adds_bos=True)


@pytest.mark.parametrize(
    "template",
    [
        template_named("deepseekv3"),
        template_named("llama3_2"),
        template_named("gptoss"),
        "{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}",
        "{{ messages[0].content }}",
        "{{ messages[-1].content }}",
        "{% for m in messages %}{{ m.role | upper }}{{ m.content | reverse }}{% endfor %}",
        "{% for m in messages %}{{ '{{' }}{{ m.role }} {{ m.content }}\n{% endfor %}",
    ],
)
def test_a_template_that_cannot_be_said_is_not_given(template: str) -> None:
    found = written(template)
    assert MISSING in found
    assert "TEMPLATE " not in found.replace(MISSING, "")


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3", "llama3_1", "gemma3", "phi3", "cohere", "glm4moe"])
def test_frames_give_what_the_template_gives(name: str) -> None:
    tokenizer = tiny_tokenizer(template_named(name))
    frames = frames_of(tokenizer)
    assert frames is not None
    said = [("system", "Be brief."), ("user", "One?"), ("assistant", "It is."), ("user", "Grüße 🙂?")]
    for talk in (said, said[1:], said[:2]):
        messages = [{"role": role, "content": text} for role, text in talk]
        whole = render(messages, [], tokenizer.chat_template, tokenizer, prompt=True)
        assert frames.text(talk) == whole.text
