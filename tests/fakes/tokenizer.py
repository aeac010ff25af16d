"""A real, tiny byte-level tokenizer made on the spot, with the chat template of one's choice."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

MARK = re.compile(r"<\|\w+\|>|<(?:start|end)_of_turn>|</?s>")


MISTRAL_TEMPLATE = """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- if tools %}{{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS] ' + message.content + '[/TOOL_RESULTS]' }}
    {%- elif message.tool_calls is defined %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}{{- raise_exception('ids have nine letters') }}{% endif %}
            {{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}
            {{- ']' + eos_token if loop.last else ', ' }}
        {%- endfor %}
    {%- else %}
        {{- ' ' + message.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""
"""Calls of functions in the way of Mistral's templates, which trl carries none of."""


def template_named(name: str) -> str:
    """Give a real model's chat template, from the copies that trl carries."""
    found = importlib.util.find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def tiny_tokenizer(template: str | None, *, end: str = "<|im_end|>") -> Any:
    """Give a tokenizer for which the marks in the template are single tokens; `end` ends an answer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = sorted({*MARK.findall(template or ""), "<s>", "</s>", end})
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["what is two and two? it is four, and the answer is never five."] * 20, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token=end)
    made.chat_template = template
    return made


def sentence_pieces(template: str, *, end: str = "<|im_end|>") -> Any:
    """Give a tokenizer of Llama 2's kind: spaces are letters, what it has no piece for is spelt in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = sorted({*MARK.findall(template), "<s>", "</s>", end})
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", *marks, *spelt], show_progress=False)
    inner.train_from_iterator(["what is two and two? it is four, and the answer is never five."] * 20, trainer)
    known = json.loads(inner.to_str())
    known["added_tokens"] = [token for token in known["added_tokens"] if token["content"] not in spelt]
    inner = Tokenizer.from_str(json.dumps(known))
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token=end, unk_token="<unk>")
    made.chat_template = template
    return made
